//! What an operator ends: a token with its session, a session, or all that an account or a client has.

use crate::model::Denial;
use crate::store::cuts::Reach;
use crate::store::revocations::{Cause, NotTold};
use crate::tokens::TokenService;

impl TokenService {
    /// Ends what is reached, and cuts it: sessions with their grants, refresh tokens among them, and the codes that would open
    /// others. Of a token, its whole session. What does not exist is ended already. A subject is the number of an account.
    ///
    /// # Errors
    /// `StoreUnavailable`: nothing has ended. Within: it has ended, but other gateways could not be told yet.
    pub async fn end(&self, reach: Reach) -> Result<Result<(), NotTold>, Denial> {
        let session = self.store.end(reach.clone(), self.now().wall).await?;
        let cut = |reach| self.surroundings.revocations.announce(self.issuer, reach, Cause::Operator, self.now());
        let of_session = async {
            match session {
                Some(session) => cut(Reach::Session(session)).await,
                None => Ok(()),
            }
        };
        // Both are cut here before anybody is waited for.
        let (told, told_of_session) = tokio::join!(cut(reach), of_session);
        Ok(told.and(told_of_session))
    }
}
