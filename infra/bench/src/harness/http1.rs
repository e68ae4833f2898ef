//! The least of HTTP/1.1 that a Runtime API and AWS's JSON protocols need, blocking: a server must not be what is measured.

use std::io::{self, BufRead, BufReader, Read, Write};

/// What came.
pub struct Request {
    pub method: String,
    pub path: String,
    /// `AmazonSQS.SendMessage`, where AWS's protocols name the operation.
    pub target: String,
    pub body: Vec<u8>,
}

/// One side of a connection that is kept open.
pub struct Connection<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self(BufReader::with_capacity(64 * 1024, stream))
    }

    /// `None`: the other side has closed.
    pub fn read(&mut self) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut is_chunked, mut target) = (0, false, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                "transfer-encoding" => is_chunked = value.trim().eq_ignore_ascii_case("chunked"),
                "x-amz-target" => target = value.trim().to_owned(),
                "expect" => self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => {}
            }
        }
        let mut body = Vec::new();
        if is_chunked {
            while self.read_chunk(&mut body)? {}
        } else {
            self.read_exactly(length, &mut body)?;
        }
        Ok(Some(Request { method, path, target, body }))
    }

    /// `false`: it was the last, which is empty.
    fn read_chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        self.read_exactly(size, body)?;
        self.0.read_line(&mut line)?;
        Ok(size > 0)
    }

    fn read_exactly(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        match (&mut self.0).take(length).read_to_end(body)? {
            read if u64::try_from(read).is_ok_and(|read| read == length) => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// In one write, so that the other side wakes up once.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wire(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Wire {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }
    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bodies_are_read_by_their_length_and_in_chunks() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n\r\nabc\
                    POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
                    GET /c HTTP/1.1\r\n\r\nPOST /d HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort";
        let mut connection = Connection::new(Wire(io::Cursor::new(text.as_bytes().to_vec()), Vec::new()));
        let mut next = || connection.read().map(|it| it.map(|it| (it.path, it.target, it.body)));
        let found = |path: &str, target: &str, body: &[u8]| Some((path.to_owned(), target.to_owned(), body.to_vec()));
        assert_eq!(next().unwrap(), found("/a", "AmazonSQS.SendMessage", b"abc"));
        assert_eq!(next().unwrap(), found("/b", "", b"def"));
        assert_eq!(next().unwrap(), found("/c", "", b""));
        assert!(next().is_err());
    }
}
