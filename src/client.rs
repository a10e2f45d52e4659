/// How an API behaves towards tokens.
#[derive(Debug, Clone, Default)]
pub struct ApiProfile {}
