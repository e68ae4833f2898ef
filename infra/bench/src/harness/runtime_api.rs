//! Lambda's Runtime API: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::http1::Connection;
use super::meter::Meter;

/// One execution environment's life, as the API sees it.
pub struct Session {
    /// In order; made before the clock starts.
    pub events: Vec<Vec<u8>>,
    /// So many are handed out before the readings of the warm part begin.
    pub warm_from: usize,
    /// Set as soon as the process exists.
    pub meter: OnceLock<Meter>,
    seen: Mutex<Seen>,
    end: Sender<()>,
}

/// What has happened.
#[derive(Default)]
pub struct Seen {
    handed: usize,
    /// When the function was ready.
    pub ready: Option<Instant>,
    /// When each event left.
    pub delivered: Vec<Instant>,
    /// When each answer was there.
    pub answered: Vec<Instant>,
    /// Time on a CPU before the warm part.
    pub warm: Option<Duration>,
    /// The same after the last answer.
    pub end: Option<Duration>,
    /// Every answer that differs from the one before.
    pub answers: Vec<Vec<u8>>,
    /// What the function said of its failure to start, or of one event.
    pub error: Option<String>,
}

impl Session {
    pub fn new(events: Vec<Vec<u8>>, warm_from: usize, end: Sender<()>) -> Self {
        Self { events, warm_from, meter: OnceLock::new(), seen: Mutex::default(), end }
    }

    /// Serves every connection of the function, each on a thread of its own.
    pub fn serve(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            let session = Arc::clone(self);
            std::thread::spawn(move || {
                if let Err(error) = session.serve_one(stream) {
                    session.seen().error.get_or_insert(error.to_string());
                }
            });
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process may be faster than whoever started it.
    fn cpu(&self) -> Duration {
        loop {
            match self.meter.get() {
                Some(meter) => return meter.cpu(),
                None => std::thread::yield_now(),
            }
        }
    }

    fn serve_one(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut connection = Connection::new(stream);
        let mut out = Vec::with_capacity(64 * 1024);
        while let Some(request) = connection.read()? {
            let now = Instant::now();
            if request.method == "GET" && request.path.ends_with("/invocation/next") {
                let Some((id, event)) = self.next(now) else {
                    // Held open, as Lambda does while it freezes the sandbox.
                    connection.read()?;
                    return Ok(());
                };
                out.clear();
                head(&mut out, id, event.len())?;
                out.extend_from_slice(event);
                self.seen().delivered.push(Instant::now());
                connection.write(&out)?;
            } else {
                self.answer(&request.path, request.body, now);
                connection
                    .write(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")?;
            }
        }
        Ok(())
    }

    fn next(&self, now: Instant) -> Option<(usize, &[u8])> {
        let mut seen = self.seen();
        let id = seen.handed;
        seen.handed += 1;
        if id == 0 {
            seen.ready = Some(now);
        }
        if id > 0 && id == self.warm_from {
            seen.warm = Some(self.cpu());
        }
        let event = self.events.get(id);
        if event.is_none() {
            seen.end = Some(self.cpu());
            let _ = self.end.send(());
        }
        event.map(|event| (id, event.as_slice()))
    }

    fn answer(&self, path: &str, body: Vec<u8>, now: Instant) {
        let mut seen = self.seen();
        seen.answered.push(now);
        if path.ends_with("/error") {
            seen.error = Some(String::from_utf8_lossy(&body).into_owned());
        }
        if path.ends_with("/init/error") {
            let _ = self.end.send(());
        }
        if seen.answers.last() != Some(&body) {
            seen.answers.push(body);
        }
    }
}

/// So long an invocation may take.
const DEADLINE: Duration = Duration::from_secs(900);

fn head(out: &mut Vec<u8>, id: usize, length: usize) -> io::Result<()> {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + DEADLINE;
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
         Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-{id:012x}\r\n\
         Lambda-Runtime-Deadline-Ms: {}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:measured\r\n\
         Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\n\
         Content-Length: {length}\r\n\r\n",
        deadline.as_millis()
    )
}
