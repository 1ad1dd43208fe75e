//! Listings, a page at a time.

use mcp_jsonrpc::RpcError;
use serde::Deserialize;
use serde_json::{Value, json};

/// The parameters of a listing.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paged {
    /// Where the page before ended; the first page without.
    #[serde(default)]
    cursor: Option<String>,
}

impl Paged {
    /// The page asked for of these entries, listed under `name`.
    pub(crate) fn of(
        &self,
        name: &'static str,
        entries: Vec<Value>,
        page_len_max: usize,
    ) -> Result<Value, RpcError> {
        let start = match &self.cursor {
            None => 0,
            Some(cursor) => {
                // A cursor of one listing is none of another, nor is one past its end.
                let place = cursor.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
                let place = place.and_then(|place| place.parse().ok());
                place.filter(|place| *place < entries.len()).ok_or_else(|| {
                    RpcError::new(RpcError::INVALID_PARAMS, "`cursor` is none of this listing")
                })?
            }
        };
        let page_len = page_len_max.max(1);
        let end = start.saturating_add(page_len);
        let more = end < entries.len();
        let page: Vec<_> = entries.into_iter().skip(start).take(page_len).collect();
        let mut result = json!({ name: page });
        if let (true, Some(members)) = (more, result.as_object_mut()) {
            members.insert("nextCursor".to_owned(), json!(format!("{name}-{end}")));
        }
        Ok(result)
    }
}
