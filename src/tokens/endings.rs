//! What an operator ends: a token with its session, a session, or all that an account or a client has.

use crate::model::Denial;
use crate::store::cuts::Reach;
use crate::store::revocations::Cause;
use crate::tokens::TokenService;

impl TokenService {
    /// Ends what is reached, and cuts it: sessions with their grants, refresh tokens among them, and the codes that would open
    /// others. Of a token, its whole session. What does not exist is ended already. A subject is the number of an account.
    ///
    /// # Errors
    /// `StoreUnavailable`: nothing has ended.
    pub async fn end(&self, reach: Reach) -> Result<(), Denial> {
        let session = self.store.end(reach.clone(), self.now().wall).await?;
        let cut = |reach| self.surroundings.revocations.announce(self.issuer, reach, Cause::Operator, self.now());
        cut(reach);
        if let Some(session) = session {
            cut(Reach::Session(session));
        }
        Ok(())
    }
}
