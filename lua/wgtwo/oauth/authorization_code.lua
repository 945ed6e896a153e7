--- A token source for a user who gave consent in a browser: the grant `authorization_code`, and refreshing.
--
-- @module wgtwo.oauth.authorization_code

local answer = require "wgtwo.oauth.answer"
local cache = require "wgtwo.oauth.cache"
local endpoint = require "wgtwo.oauth.endpoint"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local options = require "wgtwo.options"
local receiver = require "wgtwo.receiver"

local Source = { __name = "wgtwo.oauth.authorization_code" }
Source.__index = Source

-- Secret, tokens and the cache of each source.
local hidden = setmetatable({}, { __mode = "k" })

local text = { type = "string", nonempty = true }
local function url(default) return { type = "string", default = default, check = endpoint.check_url } end

local spec = {
  client_id = { type = "string", nonempty = true, required = true },
  client_secret = { type = "string", nonempty = true, required = true, secret = true },
  redirect_uri = { type = "string", nonempty = true, required = true },
  scopes = { type = { "list", "string" }, of = text, default = { "openid", "offline_access", "phone" } },
  refresh_token = { type = "string", nonempty = true, secret = true },
  authorize_url = url(limits.oauth.authorize_url), token_url = url(limits.oauth.token_url),
  revoke_url = url(limits.oauth.revoke_url), userinfo_url = url(limits.oauth.userinfo_url),
  ca_file = text,
  timeout = { type = "number", above = 0, max = limits.timeout_max, unit = "seconds", default = limits.oauth.timeout },
}

local function scope_text(scopes)
  return type(scopes) == "table" and table.concat(scopes, " ") or scopes
end

--- A request with the client's credentials.
local function post(secret, to, form, read, attempts)
  return endpoint.request({
    url = to, headers = endpoint.form_headers, ca_file = secret.ca_file, timeout = secret.timeout, attempts = attempts,
    username = endpoint.escape(secret.client_id), password = endpoint.escape(secret.client_secret),
    secrets = { secret.client_secret, secret.refresh_token, secret.code }, body = endpoint.form(form),
  }, read)
end

local function no_token()
  return nil, errors.new{ kind = "oauth", code = "token_missing", retryable = false,
    message = "there is no token of this user yet",
    hint = "send the user to authorize_url{}, then call exchange(code) with what comes back" }
end

local function read_token(secret)
  return function(response, context)
    context.asked = scope_text(secret.scopes)
    return answer.token(response, context)
  end
end

--- Keeps what an answer brought. The refresh token does not stay in the token that callers see.
local function keep(secret, token)
  secret.refresh_token = token.refresh_token or secret.refresh_token
  return token
end

local function refresh(secret)
  if not secret.refresh_token then return no_token() end
  local token, err = post(secret, secret.token_url,
    { { "grant_type", "refresh_token" }, { "refresh_token", secret.refresh_token } }, read_token(secret))
  if not token then return nil, err end
  return keep(secret, token)
end

--- See `wgtwo.oauth.authorization_code`.
local function new(given)
  local secret = options.check("wgtwo.oauth.authorization_code", given, spec)
  secret.tokens = cache.new(function() return refresh(secret) end)
  local source = setmetatable({ client_id = secret.client_id, token_url = secret.token_url, scopes = secret.scopes,
    fixed = true }, Source)
  hidden[source] = secret
  return source
end

--- 128 random bits as text.
local function random_state()
  local file <close> = assert(io.open("/dev/urandom", "rb"))
  return (file:read(16):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- The address to send the user to.
-- @tparam ?table o `state` (8 characters or more; default: 128 random bits), `nonce`, `prompt`, `scopes`
-- @treturn string
-- @treturn string the state: compare it with the one that comes back
-- @usage local address, state = user:authorize_url()
function Source:authorize_url(o)
  local secret = hidden[self]
  o = options.check("authorize_url", o, {
    state = { type = "string", check = function(state)
      return #state >= limits.oauth.state_min, ("at least %d characters are needed"):format(limits.oauth.state_min)
    end },
    nonce = text, prompt = text, scopes = { type = { "list", "string" }, of = text },
  })
  local state = o.state or random_state()
  local separator = secret.authorize_url:find("?", 1, true) and "&" or "?"
  return secret.authorize_url .. separator .. endpoint.form{
    { "response_type", "code" }, { "client_id", secret.client_id }, { "redirect_uri", secret.redirect_uri },
    { "scope", scope_text(o.scopes or secret.scopes) }, { "state", state }, { "nonce", o.nonce },
    { "prompt", o.prompt },
  }, state
end

--- Makes the code that came back with the user into a token. A code counts once, so this is not tried again by itself.
-- @tparam string code
-- @treturn ?table the token; with id_token and refresh_token where the scopes ask for them
-- @treturn ?wgtwo.error of kind "oauth"
function Source:exchange(code)
  if type(code) ~= "string" or code == "" then error("exchange: the code is a text that is not empty", 2) end
  local secret = hidden[self]
  secret.code = code
  local token, err = post(secret, secret.token_url, { { "grant_type", "authorization_code" }, { "code", code },
    { "redirect_uri", secret.redirect_uri } }, read_token(secret), 1)
  secret.code = nil
  if not token then return nil, err end
  secret.tokens:put("", keep(secret, token))
  return token
end

--- The user's token, refreshed where it is near its end.
-- @tparam ?table|string _ scopes: what the user consented to counts, whatever is asked for
-- @tparam ?number timeout seconds
-- @treturn ?table
-- @treturn ?wgtwo.error of kind "oauth"; its code is "token_missing" before `exchange`
function Source:token(_, timeout)
  local secret = hidden[self]
  return secret.tokens:get("", loop.deadline(timeout))
end

--- The token at hand, without waiting.
-- @treturn ?table
function Source:peek()
  return hidden[self].tokens:peek("")
end

--- Forgets the access token, so that the next call refreshes it.
-- @tparam ?string access_token only this one
function Source:invalidate(access_token)
  hidden[self].tokens:invalidate(access_token)
end

--- Who the user is.
-- @treturn ?table phone_number, phone_number_verified, sid, sub
-- @treturn ?wgtwo.error of kind "oauth"
function Source:userinfo()
  local secret = hidden[self]
  local token, err = self:token()
  if not token then return nil, err end
  return endpoint.request({
    method = "GET", url = secret.userinfo_url, ca_file = secret.ca_file, timeout = secret.timeout,
    headers = { "Accept: application/json", "Authorization: Bearer " .. token.access_token },
    secrets = { token.access_token },
  }, answer.object)
end

--- Takes the consent's tokens back: the refresh token, with which the access token ends, or the access token.
-- @treturn ?boolean true
-- @treturn ?wgtwo.error of kind "oauth"
function Source:revoke()
  local secret = hidden[self]
  local token = secret.tokens:peek("")
  local revoked = secret.refresh_token or token and token.access_token
  if not revoked then return no_token() end
  local done, err = post(secret, secret.revoke_url, { { "token", revoked } }, function(response, context)
    if response.status == 200 or response.status == 204 then return true end
    return answer.object(response, context)
  end)
  if not done then return nil, err end
  secret.refresh_token = nil
  secret.tokens:invalidate()
  return true
end

--- Names the client, nothing secret.
function Source:__tostring()
  return ("wgtwo.oauth.authorization_code(client_id %s at %s)"):format(self.client_id, self.token_url)
end

receiver.check(Source, "source")

return new
