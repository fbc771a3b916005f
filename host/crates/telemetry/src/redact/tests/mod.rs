//! Promises of redaction as a whole.
