//! Who is calling.
//!
//! [`Guard::admit`] turns the header fields of a request into a
//! [`Caller`](mcp_jsonrpc::transport::Caller), or into a [`Denied`] that knows its status and its
//! challenge.  Nothing here knows a method of MCP, a session or a route.
//!
//! ```
//! use auth::{Access, Guard, Token};
//! use hyper::HeaderMap;
//!
//! let guard = Guard::new(vec![Token::new("ann", "s3cret")]);
//! let mut headers = HeaderMap::new();
//! headers.insert("authorization", "Bearer s3cret".parse()?);
//!
//! let caller = guard.admit(&headers, &Access::AnyToken)?;
//! assert_eq!(caller.subject.as_deref(), Some("ann"));
//!
//! let denied = guard.admit(&HeaderMap::new(), &Access::AnyToken).unwrap_err();
//! assert_eq!(denied.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod denied;
mod guard;
mod token;

pub use denied::Denied;
pub use guard::{Access, Guard};
pub use token::{Token, TokenHash};
