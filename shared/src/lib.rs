//! What every function of the POS integration service has in common.
