//! The router from outside: sessions, whatever happens to them in whatever order.

mod interleavings;
