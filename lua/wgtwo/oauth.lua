--- Tokens, and where they come from.
--
-- A source gives tokens to calls: `source:token([scopes])` gives one that is valid, from its cache or the identity
-- server. Tokens are cached by scope set and renewed from 120 s before their end while the old one serves; one request
-- is under way however many wait for it; network errors, 429 and 5xx are tried again with backoff, a refusal never. A
-- secret leaves a source only in requests to its own https (or loopback) address.
--
--     local source = wgtwo.oauth.client_credentials{ client_id = "…", client_secret = "…" }
--     local token = assert(source:token{ "events.sms.subscribe" })
--     print(token.scope, token.expires_in)
--
-- Instead of one of these, `wgtwo.connect{ auth = … }` takes any object with a method `token(scopes)` that gives a
-- table with `access_token`, or nil and an error.
--
-- @module wgtwo.oauth

local oauth = {}

--- A source for a client of its own (grant `client_credentials`).
-- @tparam table options `client_id`, `client_secret`; `scopes` (a list: asked for whatever a call needs; default:
--   what a call needs), `token_url` (default https://id.wgtwo.com/oauth2/token; https, or http to this machine),
--   `auth_method` ("client_secret_basic" or "client_secret_post"), `ca_file` (PEM, instead of the system's),
--   `timeout` (10 s an attempt)
-- @treturn source
-- @raise on misuse, a token_url that would send the secret in the clear included
-- @usage local source = wgtwo.oauth.client_credentials{ client_id = "id", client_secret = "secret" }
function oauth.client_credentials(options)
  return require("wgtwo.oauth.client_credentials")(options)
end

--- A source for a token from elsewhere. It is never renewed.
-- @tparam string token
-- @treturn source
-- @usage local source = wgtwo.oauth.static(os.getenv("TOKEN"))
function oauth.static(token)
  return require("wgtwo.oauth.static")(token)
end

--- A source for a user who gives consent in a browser (grant `authorization_code`).
-- @tparam table options `client_id`, `client_secret`, `redirect_uri`; `scopes` (default openid, offline_access,
--   phone), `refresh_token` (kept from earlier), `authorize_url`, `token_url`, `revoke_url`, `userinfo_url`,
--   `ca_file`, `timeout`
-- @treturn source with `authorize_url{}`, `exchange(code)`, `token()`, `userinfo()`, `revoke()`
-- @usage local address, state = user:authorize_url{ prompt = "consent" }
function oauth.authorization_code(options)
  return require("wgtwo.oauth.authorization_code")(options)
end

return oauth
