//! Telling a segment where a server's addresses are now.
//!
//! Spawned by a network's worker when its device got an address. One that another node had is looked for
//! there: by guests until they ask anew, by switches until they see it elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::context::Context;
use crate::host::Host;
use crate::types::NetworkUid;

/// When, each so many milliseconds after the one before. Often at first: a port of a bridge does not forward
/// from the first moment on, and the other node may give the address up only when this one answers.
const AFTER: [u64; 8] = [200, 500, 500, 500, 500, 1_000, 2_000, 3_000];

/// See the module.
pub(super) async fn announce<H: Host>(context: Arc<Context<H>>, uid: NetworkUid) {
    for after in AFTER {
        tokio::time::sleep(Duration::from_millis(after)).await;
        if let Err(e) = context.host.announce(uid).await {
            debug!(network_uid = %uid, error = &e as &(dyn std::error::Error + 'static), "cannot announce");
        }
    }
}
