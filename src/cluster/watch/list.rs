//! All objects of a selection at once.
//!
//! Part of a watch: its beginning.

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{ListParams, WatchParams};
use kube::core::{DynamicObject, WatchEvent};

use super::{Events, LIST_SILENCE, Listed, Watch, cut_short, within};

const PAGE: u32 = 500;

impl<F> Watch<F> {
    /// All objects as the first events of a watch, up to the bookmark that ends them; and that watch.
    pub(super) async fn streamed_list(&self) -> Result<Listed, kube::Error> {
        let params = WatchParams { timeout: Some(290), ..self.params() }.initial_events();
        // No revision: as new as the storage. Another API server may be behind the one that we saw before.
        let mut events: Events = Box::pin(self.api.watch(&params, "").await?);
        let mut objects = Vec::new();
        loop {
            match within(LIST_SILENCE, events.next()).await? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => objects.push(object),
                Some(WatchEvent::Bookmark(bookmark)) => {
                    if bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end") {
                        let revision = bookmark.metadata.resource_version.parse().unwrap_or_default();
                        return Ok((objects, revision, Some(events)));
                    }
                }
                Some(WatchEvent::Deleted(gone)) => {
                    objects.retain(|object: &DynamicObject| object.uid() != gone.uid());
                }
                Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
                None => return Err(cut_short()),
            }
        }
    }

    pub(super) async fn paged_list(&self) -> Result<Listed, kube::Error> {
        let mut params =
            ListParams { field_selector: self.selection.fields.clone(), ..ListParams::default() }.limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let page = within(LIST_SILENCE, async { Some(self.api.list(&params).await) }).await?;
            let page = page.ok_or_else(cut_short)?;
            objects.extend(page.items);
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                let revision = page.metadata.resource_version.unwrap_or_default();
                return Ok((objects, revision.parse().unwrap_or_default(), None));
            };
            params = params.continue_token(&token);
        }
    }

    pub(super) fn params(&self) -> WatchParams {
        let mut params = WatchParams { bookmarks: true, ..WatchParams::default() };
        params.field_selector.clone_from(&self.selection.fields);
        params
    }
}
