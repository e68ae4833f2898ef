//! Goes on with runs.
