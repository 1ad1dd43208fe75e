//! A server of either era, for clients with a handshake: which era it is of, and what a session
//! with one that keeps none is made of.
