//! An AWS that answers at once, over TLS: what a function does is measured, not what it waits for.
//!
//! Whether our calls are right is tested against the local stack. This one counts them, and its house is empty: no item is
//! found, every write is taken, a data key is always the same. Only tables whose name begins with [`STOCKED`] have something in
//! them: what `infra/bench/shelf.json` was recorded with, over and over.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Map, Value, json};

use super::http1::{Connection, Request};
use crate::events::workspace;

/// How often each operation was called.
pub type Calls = BTreeMap<String, u64>;

/// Names of tables that are not empty begin with it.
pub const STOCKED: &str = "STOCKED_";
/// A page of the API.
const ON_THE_SHELF: usize = 50;

/// An item of a table, by the variable that names the table.
type Shelf = BTreeMap<String, Value>;

/// Listens until the process ends.
pub struct Aws {
    pub url: String,
    /// Who vouches for it, in PEM.
    pub authority: String,
    /// The same, for whoever reads it from a file.
    pub authority_file: PathBuf,
    calls: Arc<Mutex<Calls>>,
}

impl Aws {
    /// On a free port of this machine. `secret`: what stands in every secret. `out`: where its authority is written to.
    pub fn start(secret: &Value, out: &Path) -> anyhow::Result<Self> {
        let (authority, tls) = certificates()?;
        std::fs::create_dir_all(out)?;
        let authority_file = out.canonicalize()?.join("authority.pem");
        std::fs::write(&authority_file, &authority)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://{}", listener.local_addr()?);
        let calls = Arc::new(Mutex::new(Calls::new()));
        let shelf = std::fs::read(workspace().join("infra/bench/shelf.json")).context("failed to read the shelf")?;
        let house = Arc::new(House { secret: secret.to_string(), shelf: serde_json::from_slice(&shelf)? });
        let counting = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, calls, house) = (Arc::clone(&tls), Arc::clone(&counting), Arc::clone(&house));
                std::thread::spawn(move || -> anyhow::Result<()> {
                    stream.set_nodelay(true)?;
                    Ok(serve(StreamOwned::new(ServerConnection::new(tls)?, stream), &calls, &house)?)
                });
            }
        });
        Ok(Self { url, authority, authority_file, calls })
    }

    /// What was called since the last time.
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An authority of our own, and what this machine shows of it.
fn certificates() -> anyhow::Result<(String, Arc<ServerConfig>)> {
    let mut authority = CertificateParams::new([])?;
    // With the name that both have by default, OpenSSL takes the leaf for its own issuer.
    authority.distinguished_name.push(DnType::CommonName, "bench");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok((pem, Arc::new(config)))
}

fn serve(stream: impl Read + Write, calls: &Mutex<Calls>, house: &House) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.read()? {
        let operation = request.target.rsplit('.').next().unwrap_or_default().to_owned();
        let (status, body) = match house.answer(&operation, &request) {
            Ok(answer) => ("200 OK", answer.to_string()),
            Err(error) => (
                "400 Bad Request",
                json!({ "__type": "ValidationException", "message": error.to_string() }).to_string(),
            ),
        };
        *calls.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += 1;
        let head = format!(
            "HTTP/1.1 {status}\r\nx-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write(&[head.as_bytes(), body.as_bytes()].concat())?;
    }
    Ok(())
}

/// What is found in it.
struct House {
    secret: String,
    shelf: Shelf,
}

impl House {
    /// A request that AWS would refuse is refused here, so that no function looks fast by asking for nothing.
    fn answer(&self, operation: &str, request: &Request) -> anyhow::Result<Value> {
        let asked: Value = serde_json::from_slice(&request.body).context("the body is no JSON")?;
        let given = |name: &str| asked.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"));
        let data_key = STANDARD.encode([7; 32]);
        Ok(match operation {
            "SendMessage" => {
                given("QueueUrl")?;
                given("MessageBody")?;
                json!({ "MessageId": "219f8380-5770-4cc2-8c3e-5c715e145f5e", "MD5OfMessageBody": "" })
            }
            "GetQueueAttributes" => json!({ "Attributes": { "ApproximateNumberOfMessages": "0" } }),
            "GetSecretValue" => {
                json!({ "Name": given("SecretId")?, "SecretString": self.secret, "VersionStages": ["AWSCURRENT"] })
            }
            "GenerateDataKey" => json!({ "KeyId": given("KeyId")?, "Plaintext": data_key, "CiphertextBlob": data_key }),
            "Decrypt" => json!({ "KeyId": "key", "Plaintext": data_key }),
            "Query" | "Scan" => {
                let items = self.items(given("TableName")?);
                json!({ "Items": items, "Count": items.len(), "ScannedCount": items.len() })
            }
            "BatchGetItem" => {
                let tables = asked.get("RequestItems").and_then(Value::as_object).context("no RequestItems")?;
                let found =
                    tables.keys().filter_map(|table| Some((table.clone(), json!([self.items(table).first()?]))));
                json!({ "Responses": found.collect::<Map<_, _>>(), "UnprocessedKeys": {} })
            }
            "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" => {
                given("TableName")?;
                json!({})
            }
            _ => json!({}),
        })
    }

    fn items(&self, table: &str) -> Vec<&Value> {
        let Some(table) = table.strip_prefix(STOCKED) else { return Vec::new() };
        let count = if table == "TRANSACTIONS_TABLE" { ON_THE_SHELF } else { 1 };
        self.shelf.get(table).map_or_else(Vec::new, |item| vec![item; count])
    }
}
