//! What every function that deals with connections is made of, built once per execution environment.

mod ask;

use std::sync::Arc;

use crate::access::Tokens;
use crate::aws::SdkConfig;
use crate::pace::Pace;
use crate::providers::{ProviderHosts, Providers, request_rate};
use crate::secrets::Applications;
use crate::settings::Reader;
use crate::store::audit::AuditLog;
use crate::store::budget::Budgets;
use crate::store::configurations::{Changes, Configurations};
use crate::store::coordination::Coordination;
use crate::store::sync_logs::SyncLogs;
use crate::vault::{Bodies, Vault};
pub use ask::{Answer, Asked};

/// What the deployment says.
pub struct ConnectionSettings {
    configurations_table: String,
    audit_log_table: String,
    coordination_table: String,
    sync_logs_table: String,
    key_id: String,
    rate_percent: u32,
    hosts: ProviderHosts,
    applications: Applications,
}

impl ConnectionSettings {
    /// Reads the function's environment variables.
    pub fn read(r: &Reader<'_>, config: &SdkConfig) -> Self {
        Self {
            configurations_table: r.text("CONFIGURATIONS_TABLE"),
            audit_log_table: r.text("AUDIT_LOG_TABLE"),
            coordination_table: r.text("COORDINATION_TABLE"),
            sync_logs_table: r.text("SYNC_LOGS_TABLE"),
            key_id: r.text("KMS_KEY_ID"),
            rate_percent: r.number("PROVIDER_RATE_PERCENT"),
            hosts: ProviderHosts {
                square: r.optional("SQUARE_BASE_URL"),
                toast: r.optional("TOAST_BASE_URL"),
                lightspeed: r.optional("LIGHTSPEED_BASE_URL"),
            },
            applications: Applications::new(&aws_sdk_secretsmanager::Client::new(config), r),
        }
    }
}

/// Configurations, their secrets, and the providers behind them.
pub struct Connections {
    /// Read, and noted on.
    pub configurations: Configurations,
    /// Changed.
    pub changes: Changes,
    /// Who changed what.
    pub audit: AuditLog,
    /// What is remembered for a while.
    pub coordination: Coordination,
    /// What is read, and was.
    pub sync_logs: SyncLogs,
    /// What is sealed.
    pub vault: Arc<Vault>,
    /// What vendors have delivered, under seal.
    pub bodies: Arc<Bodies>,
    /// Who is asked.
    pub providers: Arc<Providers>,
    /// How fast they are asked.
    pub pace: Arc<Pace>,
    /// What we are to them.
    pub applications: Arc<Applications>,
}

impl Connections {
    /// Connects to nobody yet.
    pub fn new(config: &SdkConfig, settings: ConnectionSettings) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let configurations = Configurations::new(dynamodb.clone(), settings.configurations_table);
        let coordination = Coordination::new(dynamodb.clone(), settings.coordination_table.clone());
        let sync_logs = SyncLogs::new(dynamodb.clone(), settings.sync_logs_table);
        let budgets = Budgets::new(dynamodb.clone(), settings.coordination_table.clone());
        let percent = settings.rate_percent;
        let audit = AuditLog::new(dynamodb, settings.audit_log_table, settings.coordination_table);
        let vault = Arc::new(Vault::new(aws_sdk_kms::Client::new(config), settings.key_id));
        Self {
            changes: Changes::new(configurations.clone(), audit.clone(), coordination.clone(), sync_logs.clone()),
            configurations,
            audit,
            coordination,
            sync_logs,
            bodies: Arc::new(Bodies::new(Arc::clone(&vault))),
            vault,
            providers: Arc::new(Providers::new(settings.hosts)),
            pace: Arc::new(Pace::new(budgets, move |kind| request_rate(kind).percent(percent))),
            applications: Arc::new(settings.applications),
        }
    }

    /// Opens and renews credentials in the name of this function.
    pub fn tokens(&self, function: &str) -> Tokens {
        Tokens::new(
            Arc::clone(&self.vault),
            (self.configurations.clone(), self.changes.clone()),
            (Arc::clone(&self.providers), Arc::clone(&self.applications)),
            function,
        )
    }
}
