//! A server with a handshake, for clients that know no session: sessions kept for them, and
//! questions that wait for their answers.
