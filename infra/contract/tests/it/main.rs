//! The rules against real queues: the reference consumer keeps them all, and for each there is a consumer that breaks it
//! and no other. A runner that finds nothing would be worth nothing.
//!
//! Needs the tools (`make test`).

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod careless;

use std::process::{Child, Command, Output};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use contract::books;
use contract::consumer::Consumer;
use contract::evidence::Verdict;
use contract::rules::RULES;
use contract::runner::{self, Options, Report};
use local::Stack;
use tokio::task::JoinSet;
use uuid::Uuid;

use careless::{Careless, Flaw};

/// An answer takes some hundredths of a second here; so much more is for a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

/// A pair of queues that nobody else has.
async fn queue(client: &Client, name: &str) -> String {
    let create = client.create_queue().queue_name(format!("contract-{name}-{}", Uuid::new_v4().simple()));
    let create = create.attributes(QueueAttributeName::VisibilityTimeout, "60");
    create.send().await.unwrap().queue_url.unwrap()
}

/// Tries a consumer with this flaw. `shows_books`: its totals can be asked for.
async fn tried(stack: &'static Stack, flaw: Flaw, shows_books: bool) -> Report {
    let config = stack.config();
    let client = Client::new(&config);
    let (sales, replies) = (queue(&client, "sales").await, queue(&client, "replies").await);
    let stranger = r#"{"type": "sales.transaction.accepted.v1", "tenantid": "somebody"}"#;
    client.send_message().queue_url(&replies).message_body(stranger).send().await.unwrap();

    let file = stack.folder().join(format!("books-{flaw:?}-{shows_books}"));
    let mut careless = Careless::new(flaw);
    books::write(careless.ledger(), &file).unwrap();
    let consumer = Consumer::new(&config, &sales, &replies);
    let written = file.clone();
    let consuming = tokio::spawn(async move {
        while !careless.is_dead() {
            let _ = consumer.turn(Duration::from_secs(5), |body| careless.take(body)).await;
            books::write(careless.ledger(), &written).unwrap();
        }
    });
    let options = Options {
        sales_queue_url: sales,
        replies_queue_url: replies.clone(),
        tenant: format!("contract-{}", Uuid::new_v4().simple()),
        location_id: "CONTRACT1".to_owned(),
        books: shows_books.then(|| format!("cat {}", file.display())),
        limit: LIMIT,
    };
    let report = runner::run(&config, &options, |_| ()).await.unwrap();
    consuming.abort();

    // What was not ours is there for its reader, and nothing else is.
    let left = client.receive_message().queue_url(&replies).max_number_of_messages(10).send().await.unwrap();
    let left: Vec<_> = left.messages().iter().filter_map(|message| message.body()).collect();
    assert_eq!((report.strangers, left), (1, vec![stranger]), "{flaw:?}");
    report
}

fn broken(report: &Report) -> Vec<&'static str> {
    let broken = report.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Broken(_)));
    broken.map(|(rule, _)| rule.name).collect()
}

#[tokio::test]
async fn the_reference_consumer_keeps_every_rule() {
    let report = tried(Stack::shared().unwrap(), Flaw::None, true).await;
    let other: Vec<_> = report.verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Kept).collect();
    assert!(other.is_empty() && report.verdicts.len() == RULES.len(), "{other:?}");
}

#[tokio::test]
async fn without_books_what_replies_do_not_show_is_not_observable_and_nothing_is_broken() {
    let report = tried(Stack::shared().unwrap(), Flaw::None, false).await;
    let hidden = report.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::NotObservable(_)));
    let hidden: Vec<_> = hidden.map(|(rule, _)| rule.name).collect();
    assert_eq!(hidden, ["highest-revision", "late-repeat", "only-completed", "refunds", "days", "erasure"]);
    assert!(!report.is_broken(), "{report:?}");
}

#[tokio::test]
async fn for_each_rule_there_is_a_consumer_that_breaks_it_and_no_other() {
    let stack = Stack::shared().unwrap();
    let mut tries = JoinSet::new();
    for (flaw, rule) in Flaw::ALL {
        tries.spawn(async move { (flaw, rule, tried(stack, flaw, true).await) });
    }
    let mut found = Vec::new();
    while let Some(tried) = tries.join_next().await {
        let (flaw, rule, report) = tried.unwrap();
        assert_eq!(broken(&report), [rule], "{flaw:?}: {:?}", report.verdicts);
        found.push(rule);
    }
    for rule in RULES {
        assert!(found.contains(&rule.name), "nobody breaks {}", rule.name);
    }
}

/// A program that ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_tries_and_is_a_consumer() {
    let stack = Stack::shared().unwrap();
    let client = Client::new(&stack.config());
    let (sales, replies) = (queue(&client, "sales").await, queue(&client, "replies").await);
    let file = stack.folder().join("books-of-the-program");
    let program = |command: &str, options: &[&str]| {
        let queues = ["--sales-queue-url", &sales, "--replies-queue-url", &replies];
        let place = ["--endpoint-url", stack.endpoint(), "--region", stack.region()];
        let mut program = Command::new(env!("CARGO_BIN_EXE_contract"));
        program.arg(command).args(queues).args(place).args(options);
        program.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        program
    };
    let run = |limit: &str, options: &[&str]| -> (Option<i32>, String) {
        let options = [&["--timeout-seconds", limit], options].concat();
        let Output { status, stdout, .. } = program("run", &options).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    };

    let (code, report) = run("1", &[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        report.contains("BROKEN          answers") && report.contains("VERDICT: 0 rules kept, 4 broken"),
        "{report}"
    );

    let books_file = file.display().to_string();
    let consumer = program("consume", &["--books-file", &books_file, "--refuse-location", "CLOSED"]).spawn().unwrap();
    let consumer = Running(consumer);
    let books = format!("cat {books_file}");
    let (code, report) = run("6", &["--books", &books]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("VERDICT: 15 rules kept, 0 broken, 0 not observable"), "{report}");
    let (code, report) = run("6", &["--books", &books, "--location", "CLOSED"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("the consumer has rejected it: unknown_location"), "{report}");
    drop(consumer);
}
