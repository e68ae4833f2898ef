//! Onboarding by OAuth: a URL at which the merchant agrees, and where the merchant's browser comes back to.
//!
//! The state that travels through the provider's page is signed by us, ends after some minutes, and is used up by the
//! change that it leads to. Whoever comes back with it needs no token: it says for whom, and who asked.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::domain::{Configuration, ConfigurationId, ProviderKind, TenantScope};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Question, Seal, refused_change, unavailable};
use shared::store::audit::Actor;
use shared::store::configurations::{Change, CommitError};
use uuid::Uuid;

use crate::{App, connect, find_to_change, sync};

const ATTEMPTS: u32 = 5;
const PURPOSE: &[&str] = &["oauth-state"];
/// Time enough to find the password of the till's back office.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

#[derive(Serialize, Deserialize)]
struct State {
    configuration_id: ConfigurationId,
    nonce: Uuid,
    redirect_uri: String,
    subject: String,
    roles: String,
}

/// Where a merchant agrees.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Authorization {
    /// To be opened in the merchant's browser.
    pub authorization_url: String,
    /// Until when it can be used, once.
    pub expires_at: Timestamp,
}

/// Answers the URL at which the merchant agrees.
pub async fn authorize(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = find_to_change(app, call).await?;
    let provider = configuration.provider;
    let state = State {
        configuration_id: configuration.id,
        nonce: Uuid::new_v4(),
        redirect_uri: format!("{}/api/v1/oauth/{provider}/callback", app.base_url(call)),
        subject: call.subject.clone(),
        roles: call.roles(),
    };
    let expires_at = Timestamp::now() + LIFETIME;
    let key = app.signing_key.get().await.map_err(|error| unavailable(&error))?;
    let sealed = Seal::new(&key, PURPOSE).write_for(&call.scope, &state, expires_at)?;
    let application = app.applications.get(provider).await.map_err(|error| unavailable(&error))?;
    let provider = app.providers.get(provider);
    let url = provider.authorize_url(&application, configuration.environment, &state.redirect_uri, &sealed);
    let authorization_url = url.ok_or_else(|| {
        Problem::not_supported("this provider has no such page: replace the credentials of the configuration")
    })?;
    let issued = app.coordination.issue(&state.nonce.to_string(), expires_at).await;
    issued.map_err(|error| unavailable(&error))?;
    Answer::json(StatusCode::OK, &Authorization { authorization_url, expires_at })
}

/// Takes the merchant's agreement: exchanges the code, seals the tokens, connects the configuration.
pub async fn callback(app: &App, question: &Question) -> Result<Answer, Problem> {
    let provider: ProviderKind = question.path_id("pos_system", "provider")?;
    let mut parameters = question.parameters();
    let (code, sealed) = (parameters.get::<String>("code", "text"), parameters.get::<String>("state", "text"));
    let unknown = || Problem::invalid_state("this link is not ours, or too old: ask for another one");
    let key = app.signing_key.get().await.map_err(|error| unavailable(&error))?;
    let opened = sealed.and_then(|sealed| Seal::new(&key, PURPOSE).read_for(&sealed, Timestamp::now()));
    let (scope, state): (TenantScope, State) = opened.ok_or_else(unknown)?;
    let nonce = state.nonce.to_string();
    if !app.coordination.is_unused(&nonce).await.map_err(|error| unavailable(&error))? {
        return Err(Problem::invalid_state("this link was used already: ask for another one"));
    }
    let Some(code) = code else {
        return Err(Problem::provider_refused("the merchant did not agree, or the provider refused"));
    };
    let before = app.configurations.find(&scope, state.configuration_id).await.map_err(|error| unavailable(&error))?;
    let before = before.filter(|found| found.provider == provider && found.deletion.is_none());
    let before = before.ok_or_else(|| Problem::not_found("configuration"))?;

    let mut connected = before.clone();
    let credentials = connect::exchange(app, &mut connected, &code, &state.redirect_uri).await?;
    let sealed = connect::seal(app, &scope, &mut connected, &credentials).await?;
    let actor = Actor { subject: state.subject, roles: state.roles, request_id: question.request_id.clone() };
    // The code is spent: a change by somebody else at the same moment must not cost the merchant another consent.
    let mut before = before;
    for attempt in 1.. {
        let mut after = before.clone();
        after.merchant.clone_from(&connected.merchant);
        after.locations.clone_from(&connected.locations);
        after.credentials.clone_from(&connected.credentials);
        after.apply_day_starts();
        after.drop_credential_reasons();
        after.touch();
        let change = Change {
            credentials: Some(sealed.clone()),
            uses_up: Some(&nonce),
            ..Change::of(&actor, "configuration.authorized", &before, &after)
        };
        match app.changes.commit(&scope, &change).await {
            Ok(begun) => {
                sync::call_workers(app, (&scope, &question.trace()), after.id, &begun).await;
                break;
            }
            Err(CommitError::Moved) if attempt < ATTEMPTS => {
                let found = app.configurations.find(&scope, before.id).await.map_err(|error| unavailable(&error))?;
                let is_same = |found: &Configuration| found.deletion.is_none() && found.merchant == before.merchant;
                before = found.filter(is_same).ok_or_else(|| refused_change(CommitError::Moved))?;
            }
            Err(error) => return Err(refused_change(error)),
        }
    }
    Ok(Answer::page("The till is connected. You can close this window."))
}
