//! `name=value&…`, as a query and as a form.

/// Percent-encodes every byte that RFC 3986 does not call unreserved.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        push(&mut text, name);
        text.push('=');
        push(&mut text, value);
    }
    text
}

fn push(text: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_leaves_its_place() {
        let pairs = [("state", "a&b=c d+é/?#%"), ("to", "2026-02-14T08:00:00.000+0000")];
        let text = "state=a%26b%3Dc%20d%2B%C3%A9%2F%3F%23%25&to=2026-02-14T08%3A00%3A00.000%2B0000";
        assert_eq!(super::encode(&pairs), text);
        assert_eq!(super::encode(&[]), "");
    }
}
