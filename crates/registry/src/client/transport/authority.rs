//! Who is asking: credentials, challenges and tokens of one registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use super::api::Api;
use super::challenge::Challenge;
use super::flight::{self, Flight};
use super::reply::Reason;
use super::scope::ScopeSet;
use super::token::{Token, TokenServer, fetch};
use crate::client::credential::{Credential, CredentialSource, Issued, Secret};
use crate::client::provider::Provider;
use crate::error::{Details, Error, ErrorKind};

/// How long rejected credentials, and what was denied to them, are not tried again. Some registries answer a series of failed
/// logins with a ban of an hour.
const REJECTION_MEMORY: Duration = Duration::from_secs(60);

/// How often in a row the token server may refuse a credential that has worked, until that is not tried
/// again. One refusal may be about one repository.
const MAX_REFUSALS: u32 = 3;

/// What one registry has asked for so far, and what it was given.
pub(super) struct Authority {
    api: Api,
    source: Arc<dyn CredentialSource>,
    /// Whose registry it is, as far as that is known without asking it.
    provider: Option<Arc<dyn Provider>>,
    state: Mutex<State>,
    /// Held while a token is asked for with a credential that may be wrong: a wrong one must not be
    /// sent as many times as there are tasks.
    doubtful: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    method: Option<Method>,
    credential: Option<Flight<Held>>,
    tokens: HashMap<ScopeSet, Slot>,
    rejection: Option<(Instant, Error)>,
    /// What the token server denied, by what it was needed for.
    denials: HashMap<ScopeSet, (Instant, Error)>,
    /// The credential has worked: a later 401 is about one repository, not about the credential.
    proven: bool,
    /// Refusals by the token server since it last issued a token.
    refusals: u32,
}

/// A credential as it was read, or exchanged.
#[derive(Clone)]
struct Held {
    issued: Issued,
    since: SystemTime,
}

/// How the registry wants to be asked.
#[derive(Clone)]
enum Method {
    Basic,
    Bearer(TokenServer),
}

/// A token, or the request for one, by what it was first needed for.
struct Slot {
    server: TokenServer,
    asked: ScopeSet,
    flight: Flight<Arc<Token>>,
}

/// An `Authorization` header, and where it came from.
pub(super) struct Authorization {
    header: HeaderValue,
    origin: Origin,
}

enum Origin {
    /// The credential itself.
    Credential(Credential),
    Token(Arc<Token>),
}

impl Authorization {
    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// What to ask for instead of `needed`, after a challenge which says that the token was good, but not
    /// for this: the token server may have granted less than it was asked for.
    pub(super) fn widened(&self, challenge: &Challenge, needed: &ScopeSet) -> Option<ScopeSet> {
        let short = matches!(&self.origin, Origin::Token(token) if !token.is_anonymous())
            && challenge.is_insufficient_scope();
        needed.widened().filter(|_| short)
    }

    /// Whether it was had without credentials.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(&self.origin, Origin::Token(token) if token.is_anonymous())
    }
}

impl Authority {
    pub(super) fn new(
        api: Api,
        source: Arc<dyn CredentialSource>,
        provider: Option<Arc<dyn Provider>>,
    ) -> Self {
        Self {
            api,
            source,
            provider,
            state: Mutex::default(),
            doubtful: tokio::sync::Mutex::default(),
        }
    }

    /// The registry's credential, read at most once until it expires or is rejected.
    pub(super) async fn credential(&self) -> Result<Credential, Error> {
        let flight = {
            let mut state = self.state();
            match &state.credential {
                Some(flight) if flight.peek().is_none_or(is_good) => flight.clone(),
                _ => {
                    let (source, api) = (Arc::clone(&self.source), self.api.clone());
                    let provider = self.provider.clone();
                    let flight = flight::start(async move { read(&*source, provider, &api).await });
                    state.credential.insert(flight).clone()
                }
            }
        };
        flight.await.map(|held| held.issued.credential)
    }

    /// The credential, read anew if it is still this one; nothing if it is the same again.
    ///
    /// What was refused may have expired, or been replaced where it is kept.
    async fn renewed(&self, refused: &Credential) -> Result<Option<Credential>, Error> {
        {
            let mut state = self.state();
            let known = state.credential.as_ref().and_then(|flight| flight.peek());
            if matches!(known, Some(Ok(held)) if held.issued.credential == *refused) {
                state.credential = None;
            }
        }
        let now = self.credential().await?;
        Ok((now != *refused).then_some(now))
    }

    /// What to send along without having been asked: nothing, until the registry has once asked.
    pub(super) async fn authorization(
        &self,
        needed: &ScopeSet,
    ) -> Result<Option<Authorization>, Error> {
        let method = self.state().method.clone();
        match method {
            Some(method) => self.authorize(&method, needed, &ScopeSet::default(), None).await,
            None => Ok(None),
        }
    }

    /// What to send after a 401 with these challenges. `offered` is what was sent in vain; `refusal`
    /// is the error if there is nothing better.
    pub(super) async fn answer(
        &self,
        challenges: &[Challenge],
        needed: &ScopeSet,
        offered: Option<&Authorization>,
        refusal: Error,
        reason: &Reason,
    ) -> Result<Authorization, Error> {
        let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
        let (method, extra) = if let Some(challenge) = bearer {
            let plain = self.api.plain_http.then_some(&self.api.host);
            let server = TokenServer::of(challenge, plain)
                .map_err(|message| reason.error(ErrorKind::Invalid, message))?;
            let extra = challenge.get("scope").map(ScopeSet::parse).unwrap_or_default();
            let wide = offered.and_then(|offered| offered.widened(challenge, needed));
            (Method::Bearer(server), wide.map_or(extra.clone(), |wide| wide.union(&extra)))
        } else if challenges.iter().any(|challenge| challenge.is("basic")) {
            (Method::Basic, ScopeSet::default())
        } else {
            return Err(refusal);
        };
        self.state().method = Some(method.clone());
        let answer = self.anew(&method, needed, &extra, offered, refusal).await?;
        answer.ok_or_else(|| {
            let message = "not authorized, and there are no credentials for it";
            reason.error(ErrorKind::Unauthorized, message)
        })
    }

    /// What to send after a refusal that said, without a challenge, that what was offered has expired.
    pub(super) async fn renewal(
        &self,
        needed: &ScopeSet,
        offered: &Authorization,
        refusal: Error,
    ) -> Result<Authorization, Error> {
        let Some(method) = self.state().method.clone() else { return Err(refusal) };
        let extra = ScopeSet::default();
        let answer = self.anew(&method, needed, &extra, Some(offered), refusal.clone()).await?;
        answer.ok_or(refusal)
    }

    /// What to send instead of what was offered in vain; the refusal if there is nothing else.
    async fn anew(
        &self,
        method: &Method,
        needed: &ScopeSet,
        extra: &ScopeSet,
        offered: Option<&Authorization>,
        refusal: Error,
    ) -> Result<Option<Authorization>, Error> {
        let refused = match offered.map(|offered| &offered.origin) {
            Some(Origin::Credential(credential)) => {
                if self.renewed(credential).await?.is_none() {
                    self.reject(&refusal);
                    return Err(refusal);
                }
                None
            }
            Some(Origin::Token(token)) => Some(token),
            None => None,
        };
        self.authorize(method, needed, extra, refused).await
    }

    /// The registry took what it was offered.
    pub(super) fn accepted(&self, offered: &Authorization) {
        if matches!(offered.origin, Origin::Credential(_)) {
            self.state().proven = true;
        }
    }

    /// The registry refused what it had just asked for.
    pub(super) fn rejected(&self, offered: &Authorization, error: &Error) {
        if matches!(offered.origin, Origin::Credential(_)) {
            self.reject(error);
        }
    }

    async fn authorize(
        &self,
        method: &Method,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
    ) -> Result<Option<Authorization>, Error> {
        if let Some(error) = self.recent_rejection() {
            return Err(error);
        }
        let credential = self.credential().await?;
        let own =
            |header| Some(Authorization { header, origin: Origin::Credential(credential.clone()) });
        match (method, &credential) {
            (Method::Basic, Credential::Basic { username, password }) => {
                Ok(own(basic_header(username, password)))
            }
            (_, Credential::Bearer(token)) => Ok(own(bearer_header(token).map_err(|message| {
                Error::with_details(ErrorKind::Credential, message, self.details())
            })?)),
            (Method::Basic, _) => Ok(None),
            (Method::Bearer(server), _) => {
                let token = self.token(server, needed, extra, refused, credential).await?;
                let header = token.header().clone();
                Ok(Some(Authorization { header, origin: Origin::Token(token) }))
            }
        }
    }

    /// A token for what is needed. If the token server refuses the credential, a newer one is tried.
    ///
    /// As long as the credential may be wrong, tasks ask one after the other, so that all but the first
    /// learn from its refusal.
    async fn token(
        &self,
        server: &TokenServer,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
        credential: Credential,
    ) -> Result<Arc<Token>, Error> {
        let mut turn = match &credential {
            Credential::Anonymous => None,
            _ if self.state().is_trusted() => None,
            _ => Some(self.doubtful.lock().await),
        };
        // Whoever had the turn before may have replaced it.
        let credential = match turn {
            Some(_) => self.credential().await?,
            None => credential,
        };
        if let Some(error) = self.recent_rejection().or_else(|| self.recent_denial(needed)) {
            return Err(error);
        }
        let first = self.token_with(server, needed, extra, refused, credential.clone()).await;
        let refusal = match first {
            Err(error) if is_refused(&credential, &error) => error,
            result => return result,
        };
        if turn.is_none() && *refusal.kind() == ErrorKind::Denied {
            turn = Some(self.doubtful.lock().await);
            if let Some(error) = self.recent_denial(needed) {
                return Err(error);
            }
        }
        let Some(newer) = self.renewed(&credential).await? else {
            self.refused(needed, &refusal);
            return Err(refusal);
        };
        let second = self.token_with(server, needed, extra, refused, newer.clone()).await;
        if let Err(error) = &second
            && is_refused(&newer, error)
        {
            self.refused(needed, error);
        }
        drop(turn);
        second
    }

    /// A token for what is needed, which is asked for once however many tasks need it.
    async fn token_with(
        &self,
        server: &TokenServer,
        needed: &ScopeSet,
        extra: &ScopeSet,
        refused: Option<&Arc<Token>>,
        credential: Credential,
    ) -> Result<Arc<Token>, Error> {
        let anonymous = credential == Credential::Anonymous;
        let flight = {
            let mut state = self.state();
            let known = state.tokens.get(needed).filter(|slot| slot.server == *server);
            match known {
                Some(slot) if slot.asked.covers(extra) && slot.is_usable(refused) => {
                    slot.flight.clone()
                }
                known => {
                    let asked = known.map_or_else(|| needed.clone(), |slot| slot.asked.clone());
                    let asked = asked.union(extra);
                    let flight = flight::start(fetch(
                        self.api.http.clone(),
                        self.api.host.clone(),
                        server.clone(),
                        asked.clone(),
                        credential,
                    ));
                    let slot = Slot { server: server.clone(), asked, flight: flight.clone() };
                    state.tokens.insert(needed.clone(), slot);
                    flight
                }
            }
        };
        let result = flight.await;
        if result.is_ok() && !anonymous {
            let mut state = self.state();
            state.proven = true;
            state.refusals = 0;
        }
        result.map_err(|error| {
            // Who may do nothing at all is nobody: GHCR says 403 to a password that it does not know.
            let is_unknown = needed.is_empty() && *error.kind() == ErrorKind::Denied && !anonymous;
            if is_unknown { error.with_kind(ErrorKind::Unauthorized) } else { error }
        })
    }

    /// The token server refused the credential, or denied it this.
    fn refused(&self, needed: &ScopeSet, error: &Error) {
        {
            let mut state = self.state();
            if *error.kind() == ErrorKind::Denied {
                state.denials.retain(|_, (at, _)| at.elapsed() < REJECTION_MEMORY);
                state.denials.insert(needed.clone(), (Instant::now(), error.clone()));
                return;
            }
            state.refusals += 1;
            if state.refusals >= MAX_REFUSALS {
                // It has been revoked.
                state.proven = false;
            }
        }
        self.reject(error);
    }

    fn reject(&self, error: &Error) {
        let mut state = self.state();
        if !state.proven {
            state.rejection = Some((Instant::now(), error.clone()));
        }
        // The place where it came from may know a newer one next time.
        state.credential = None;
    }

    fn recent_rejection(&self) -> Option<Error> {
        let state = self.state();
        let (at, error) = state.rejection.as_ref()?;
        (at.elapsed() < REJECTION_MEMORY).then(|| error.clone())
    }

    /// A denial is about what was needed, and not about the credential alone.
    fn recent_denial(&self, needed: &ScopeSet) -> Option<Error> {
        let state = self.state();
        let (at, error) = state.denials.get(needed)?;
        (at.elapsed() < REJECTION_MEMORY).then(|| error.clone())
    }

    fn details(&self) -> Details {
        Details { host: Some(self.api.host.clone()), ..Details::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether nothing speaks against the credential.
    fn is_trusted(&self) -> bool {
        self.proven && self.refusals == 0
    }
}

impl Slot {
    /// Whether the token is being fetched, or is good for now and another than the refused one.
    fn is_usable(&self, refused: Option<&Arc<Token>>) -> bool {
        match self.flight.peek() {
            None => true,
            Some(Ok(token)) => {
                token.is_fresh() && !refused.is_some_and(|refused| Arc::ptr_eq(refused, token))
            }
            Some(Err(_)) => false,
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authorization")
    }
}

/// What the source has, or else what the provider gets for the identity that this machine or job has.
async fn read(
    source: &dyn CredentialSource,
    provider: Option<Arc<dyn Provider>>,
    api: &Api,
) -> Result<Held, Error> {
    let host = api.host();
    let mut issued = source.credential(host).await.map_err(|error| {
        let message = format!("no credentials for {host}: {error}");
        let details = Details {
            host: Some(host.clone()),
            source: Some(Box::new(error)),
            ..Details::default()
        };
        Error::with_details(ErrorKind::Credential, message, details)
    })?;
    if let (Credential::Anonymous, Some(provider)) = (&issued.credential, provider) {
        issued = provider.credential(api).await?;
    }
    Ok(Held { issued, since: SystemTime::now() })
}

fn is_good(read: &Result<Held, Error>) -> bool {
    read.as_ref().is_ok_and(|held| held.issued.is_fresh(held.since))
}

/// Whether a newer credential may do better. GHCR denies (403) what others refuse (401): a password that
/// is wrong or has expired.
fn is_refused(credential: &Credential, error: &Error) -> bool {
    *credential != Credential::Anonymous
        && matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
}

/// `Basic` and the base64 of `user:password` (RFC 7617).
pub(super) fn basic_header(username: &str, password: &Secret) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut header = HeaderValue::from_str(&format!("Basic {pair}"))
        .expect("base64 holds only characters that headers may hold");
    header.set_sensitive(true);
    header
}

/// `Bearer` and a token (RFC 6750).
pub(super) fn bearer_header(token: &Secret) -> Result<HeaderValue, &'static str> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| "the token cannot be sent in a header")?;
    header.set_sensitive(true);
    Ok(header)
}
