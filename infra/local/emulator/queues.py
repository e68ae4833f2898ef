"""The emulator's queues, kept so that a call costs the same however many messages wait.

It keeps a list of messages and walks through all of it for each call, for each message that is deleted once, and from
two threads: what was sent while the other one walked was lost. Here a queue's messages lie where the next call looks
for them. Who gets what, when, and how often stays its affair: a call hands it the few messages in question.

Added is what it has not: a standard queue whose messages have groups is a fair queue.
"""

import threading
import time
from bisect import bisect_left, insort
from collections import Counter
from itertools import count, islice


class Messages:
    """Of one queue, in the order in which they were sent. Takes the place of the emulator's list."""

    def __init__(self, messages=()):
        self.lock = threading.RLock()
        self.places = count()
        self.all: dict[int, dict] = {}  # by place
        self.receipts: dict[str, int] = {}  # receipt handle -> place
        self.ages: list[tuple[float, int]] = []  # when it was sent, and its place; sorted, as the next two are
        self.hidden: list[tuple[float, int]] = []  # when it can be seen again, and its place
        self.visible: dict[str | None, list[int]] = {}  # group -> places
        self.under_way: Counter[str | None] = Counter()  # group -> how many somebody has received and may still delete
        self.returned: dict[int, dict] = {}  # those that were received and are visible again
        for message in messages:
            self.append(message)

    def __iter__(self):
        with self.lock:
            return iter(list(self.all.values()))

    def __len__(self):
        return len(self.all)

    def __getitem__(self, index):
        return list(self)[index]

    def append(self, message: dict) -> None:
        from ministack.services import sqs

        with self.lock:
            sqs._ensure_msg_fields(message)
            place = message["place"] = next(self.places)
            self.all[place] = message
            insort(self.ages, (sent_at(message), place))
            self.lay(message)

    def remove(self, message: dict) -> None:
        with self.lock:
            self.lift(message)
            del self.all[message["place"]]
            take_out(self.ages, (sent_at(message), message["place"]))

    def clear(self) -> None:
        for message in self:
            self.remove(message)

    def lay(self, message: dict) -> None:
        """Where it is looked for, by its receipt handle and the time at which it can be seen."""
        place, group = message["place"], message["group_id"]
        if message["receipt_handle"]:
            self.receipts[message["receipt_handle"]] = place
        if message["visible_at"] > time.time():
            insort(self.hidden, (message["visible_at"], place))
            self.under_way[group] += message["receive_count"] > 0
        else:
            insort(self.visible.setdefault(group, []), place)
            if message["receive_count"]:
                self.returned[place] = message

    def lift(self, message: dict) -> None:
        """The opposite, before it changes."""
        place, group = message["place"], message["group_id"]
        self.receipts.pop(message["receipt_handle"], None)
        if take_out(self.hidden, (message["visible_at"], place)):
            self.under_way[group] -= message["receive_count"] > 0
            return
        self.returned.pop(place, None)
        take_out(self.visible[group], place)
        if not self.visible[group]:
            del self.visible[group]

    def wake(self) -> None:
        """What can be seen again by now."""
        while self.hidden and self.hidden[0][0] <= time.time():
            message = self.all[self.hidden[0][1]]
            self.lift(message)
            self.lay(message)

    def of(self, receipt: str) -> dict | None:
        place = self.receipts.get(receipt)
        return None if place is None else self.all[place]

    def in_turn(self, most: int) -> list[dict]:
        """The first few, those of the group with the least under way first."""
        groups = sorted(self.visible.items(), key=lambda group: group[1][0])
        turns = [
            (self.under_way[group] + turn, place)
            for group, places in groups
            for turn, place in enumerate(places[:most])
        ]
        return [self.all[place] for _, place in islice(sorted(turns, key=lambda turn: turn[0]), most)]


def sent_at(message: dict) -> float:
    return message.get("enqueued_at", message["sent_at"])


def take_out(ordered: list, entry) -> bool:
    index = bisect_left(ordered, entry)
    is_there = index < len(ordered) and ordered[index] == entry
    if is_there:
        del ordered[index]
    return is_there


def apply() -> None:
    from ministack.core.responses import AccountRegionScopedDict
    from ministack.services import sqs

    class Queues(AccountRegionScopedDict):
        __slots__ = ()

        def __setitem__(self, url, queue):
            queue["messages"] = Messages(queue["messages"])
            super().__setitem__(url, queue)

    sqs._queues = Queues()
    receive_what_is_visible(sqs)
    find_by_receipt(sqs)


def receive_what_is_visible(sqs) -> None:
    collect, sweep = sqs._collect_msgs, sqs._dlq_sweep

    def collect_in_turn(queue, most, visibility):
        messages = queue["messages"]
        with messages.lock:
            messages.wake()
            candidates = list(messages) if queue["is_fifo"] else messages.in_turn(most)
            for message in candidates:
                messages.lift(message)
            try:
                return collect({**queue, "messages": candidates}, most, visibility)
            finally:
                for message in candidates:
                    messages.lay(message)

    def sweep_returned(queue):
        if not queue["attributes"].get("RedrivePolicy"):
            return
        messages = queue["messages"]
        with messages.lock:
            messages.wake()
            returned = [message for _, message in sorted(messages.returned.items())]
            looked_at = {**queue, "messages": returned}
            sweep(looked_at)
            kept = {message["place"] for message in looked_at["messages"]}
            for message in returned:
                if message["place"] not in kept:
                    messages.remove(message)

    def expire_oldest(queue):
        messages = queue["messages"]
        oldest = time.time() - int(queue["attributes"].get("MessageRetentionPeriod", "345600"))
        with messages.lock:
            while messages.ages and messages.ages[0][0] <= oldest:
                messages.remove(messages.all[messages.ages[0][1]])

    def count_each_kind(queue):
        messages = queue["messages"]
        with messages.lock:
            expire_oldest(queue)
            messages.wake()
            under_way, hidden = messages.under_way.total(), len(messages.hidden)
            queue["attributes"].update(
                ApproximateNumberOfMessages=str(len(messages) - hidden),
                ApproximateNumberOfMessagesNotVisible=str(under_way),
                ApproximateNumberOfMessagesDelayed=str(hidden - under_way),
            )

    sqs._collect_msgs = collect_in_turn
    sqs._dlq_sweep = sweep_returned
    sqs._expire_retained = expire_oldest
    sqs._refresh_counts = count_each_kind


def find_by_receipt(sqs) -> None:
    """Deleting, and changing how long a message is hidden."""

    def delete(messages, message, _):
        messages.remove(message)

    def hide(messages, message, entry):
        seconds = int(entry.get("VisibilityTimeout", 30))
        messages.lift(message)
        message["visible_at"] = time.time() + seconds
        messages.lay(message)
        if not seconds:
            sqs.esm_wake.set()

    def done_with(action, change):
        def is_done(queue, entry):
            messages = queue["messages"]
            with messages.lock:
                message = messages.of(entry.get("ReceiptHandle", ""))
                if message is not None:
                    change(messages, message, entry)
                return message is not None

        def one(data, url):
            queue = sqs._get_q(data.get("QueueUrl", url), f"sqs:{action}")
            if not is_done(queue, data):
                raise sqs._Err("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            return {}

        def several(data, url):
            queue = sqs._get_q(data.get("QueueUrl", url), f"sqs:{action}")
            entries = data.get("Entries", [])
            sqs._validate_batch_entries(entries, f"{action}BatchRequestEntry")
            answer = {"Successful": [], "Failed": []}
            for entry in entries:
                if is_done(queue, entry):
                    answer["Successful"].append({"Id": entry["Id"]})
                else:
                    answer["Failed"].append({
                        "Id": entry["Id"],
                        "Code": "ReceiptHandleIsInvalid",
                        "Message": "The input receipt handle is invalid.",
                        "SenderFault": True,
                    })
            return answer

        sqs._HANDLERS[action], sqs._HANDLERS[f"{action}Batch"] = one, several
        return is_done

    is_deleted = done_with("DeleteMessage", delete)
    done_with("ChangeMessageVisibility", hide)

    def delete_received(url, receipts):
        queue = sqs._get_q(url)
        for receipt in receipts:
            is_deleted(queue, {"ReceiptHandle": receipt})

    sqs._delete_messages_for_esm = delete_received
