//! The routes of a function, in one table: dispatch, roles and the OpenAPI document are read from it.

use super::Role;

/// One route and what stands behind it.
#[derive(Debug, Clone, Copy)]
pub struct Route<O: 'static> {
    /// `GET`, `POST` ...
    pub method: &'static str,
    /// As the template has it.
    pub path: &'static str,
    /// Who may call it. `None`: everybody, without a token.
    pub role: Option<Role>,
    /// What is done.
    pub operation: O,
}

/// The route of a request, if the table has it.
pub fn find_route<O: Copy>(routes: &[Route<O>], method: &str, path: &str) -> Option<Route<O>> {
    routes.iter().find(|route| route.method == method && route.path == path).copied()
}
