//! Sealed credentials open for their owner and for nobody else.

use std::sync::Arc;

use aws_sdk_kms::Client;
use shared::domain::{ConfigurationId, ProviderKind, TenantScope};
use shared::providers::{Credentials, Renewal};
use shared::vault::{Bodies, Purpose, SealContext, Vault, VaultError};
use zeroize::Zeroizing;

use crate::stack::{scope, stack};

fn vault() -> Vault {
    Vault::new(Client::new(&stack().config()), stack().output("KeyArn").unwrap().to_owned())
}

fn credentials() -> Credentials {
    Credentials {
        access_token: Zeroizing::new("EAAA-secret-token".into()),
        obtained_at: "2026-02-14T08:00:00Z".parse().unwrap(),
        expires_at: None,
        renewal: Renewal::RefreshToken {
            refresh_token: Zeroizing::new("EQAA-secret-refresh".into()),
            single_use: false,
        },
    }
}

fn context(scope: &TenantScope, configuration_id: ConfigurationId) -> SealContext<'_> {
    SealContext { scope, configuration_id, provider: ProviderKind::Square, purpose: Purpose::Credentials }
}

#[tokio::test]
async fn what_was_sealed_opens_for_its_owner() {
    let (vault, owner, id) = (vault(), scope("t_1"), ConfigurationId::generate());
    let sealed = vault.seal(context(&owner, id), &credentials()).await.unwrap();
    assert!(!sealed.windows(12).any(|window| window == b"secret-token"));
    let opened: Credentials = vault.open(context(&owner, id), &sealed).await.unwrap();
    assert_eq!(opened.access_token.as_str(), "EAAA-secret-token");
    let Renewal::RefreshToken { refresh_token, .. } = opened.renewal else { panic!("another renewal") };
    assert_eq!(refresh_token.as_str(), "EQAA-secret-refresh");
}

#[tokio::test]
async fn what_was_sealed_opens_for_nobody_else() {
    let (vault, owner, other) = (vault(), scope("t_1"), scope("t_2"));
    let (id, other_id) = (ConfigurationId::generate(), ConfigurationId::generate());
    let sealed = vault.seal(context(&owner, id), &credentials()).await.unwrap();
    for context in [context(&other, id), context(&owner, other_id)] {
        assert!(matches!(vault.open::<Credentials>(context, &sealed).await, Err(VaultError::NotAuthentic)));
    }
}

#[tokio::test]
async fn one_altered_byte_keeps_it_closed() {
    let (vault, owner, id) = (vault(), scope("t_1"), ConfigurationId::generate());
    let sealed = vault.seal(context(&owner, id), &credentials()).await.unwrap();
    // The version, the nonce and ciphertext at the end, the tag.
    for at in [0, sealed.len() - 60, sealed.len() - 20, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert!(
            matches!(vault.open::<Credentials>(context(&owner, id), &altered).await, Err(VaultError::NotAuthentic)),
            "byte {at}"
        );
    }
}

#[tokio::test]
async fn a_body_opens_in_its_place_and_in_no_other() {
    let body = "a guest and her telephone number ".repeat(100).into_bytes();
    let place = ["t_1#c_1", "event-1"];
    let (one, other) = (Bodies::new(Arc::new(vault())), Bodies::new(Arc::new(vault())));
    let sealed = one.seal(place, &body).await.unwrap();
    assert!(sealed.len() < body.len() / 2, "{} of {}", sealed.len(), body.len());
    assert!(!sealed.windows(9).any(|window| window == b"telephone"));
    // Another execution environment, with a data key of its own; twice, because it remembers the first one's.
    for _ in 0..2 {
        assert_eq!(other.open(place, &sealed).await.unwrap(), body);
    }
    for elsewhere in [["t_2#c_1", "event-1"], ["t_1#c_1", "event-2"], ["t_1#c_1event-1", ""]] {
        assert!(matches!(other.open(elsewhere, &sealed).await, Err(VaultError::NotAuthentic)), "{elsewhere:?}");
    }
    let mut altered = sealed.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert!(matches!(other.open(place, &altered).await, Err(VaultError::NotAuthentic)));
}
