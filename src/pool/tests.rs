//! Decisions, one by one.
