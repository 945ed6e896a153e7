--- A token source for a client of its own: the grant `client_credentials`.
--
-- @module wgtwo.oauth.client_credentials

local cache = require "wgtwo.oauth.cache"
local endpoint = require "wgtwo.oauth.endpoint"
local answer = require "wgtwo.oauth.answer"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local options = require "wgtwo.options"
local receiver = require "wgtwo.receiver"

local Source = { __name = "wgtwo.oauth.client_credentials" }
Source.__index = Source

-- What must not be seen by dumping a source: its secret and its tokens.
local hidden = setmetatable({}, { __mode = "k" })

local text = { type = "string", nonempty = true }
local scope_rule = { type = { "list", "string" }, of = text }

local spec = {
  client_id = { type = "string", nonempty = true, required = true },
  client_secret = { type = "string", nonempty = true, required = true, secret = true },
  scopes = scope_rule,
  token_url = { type = "string", default = limits.oauth.token_url, check = endpoint.check_url },
  auth_method = { type = "string", one_of = { "client_secret_basic", "client_secret_post" },
    default = "client_secret_basic" },
  ca_file = text,
  timeout = { type = "number", above = 0, max = limits.timeout_max, unit = "seconds", default = limits.oauth.timeout },
}

--- The function that asks for a token of some scope. It knows the secret, and nothing else does.
local function fetcher(o)
  local basic = o.auth_method == "client_secret_basic"
  return function(scope, failed)
    return endpoint.request({
      failed = failed,
      url = o.token_url, headers = endpoint.form_headers, ca_file = o.ca_file, timeout = o.timeout,
      -- RFC 6749, 2.3.1: both are form-encoded before they become Basic credentials
      username = basic and endpoint.escape(o.client_id) or nil,
      password = basic and endpoint.escape(o.client_secret) or nil,
      secrets = { o.client_secret, endpoint.escape(o.client_secret) },
      body = endpoint.form{
        { "grant_type", "client_credentials" },
        { "scope", scope ~= "" and scope or nil },
        { "client_id", not basic and o.client_id or nil },
        { "client_secret", not basic and o.client_secret or nil },
      },
    }, function(response, context)
      context.asked = scope
      return answer.token(response, context)
    end)
  end
end

--- Raises for scopes that are none, at the line of the script that called a source's method.
local function check_scopes(method, scopes)
  if scopes == nil or type(scopes) == "string" then return end
  options.check(method, { scopes = scopes }, { scopes = scope_rule }, 3)
end

--- See `wgtwo.oauth.client_credentials`.
local function new(given)
  local o = options.check("wgtwo.oauth.client_credentials", given, spec)
  local source = setmetatable({ client_id = o.client_id, token_url = o.token_url, scopes = o.scopes }, Source)
  local tokens = cache.new(fetcher(o))
  tokens.target = o.token_url
  hidden[source] = tokens
  return source
end

--- A token: the one at hand, or a new one.
-- @tparam ?table|string scopes a list, or one text; default: those of the constructor, else none
-- @tparam ?number timeout seconds to wait for it; default: as long as the request and its retries take
-- @treturn ?table access_token, token_type, scope (what was granted, which may differ), expires_in, expires_at
-- @treturn ?wgtwo.error of kind "oauth", or "timeout"
-- @raise scopes that are neither
-- @usage local token = assert(source:token{ "events.sms.subscribe" })
function Source:token(scopes, timeout)
  check_scopes("source:token", scopes)
  return hidden[self]:get(scopes or self.scopes or "", loop.deadline(timeout))
end

--- The token at hand, without waiting.
-- @tparam ?table|string scopes
-- @treturn ?table nil where there is none
function Source:peek(scopes)
  check_scopes("source:peek", scopes)
  return hidden[self]:peek(scopes or self.scopes or "")
end

--- Forgets tokens, so that the next call asks for new ones.
-- @tparam ?string access_token only this one; nil: all
function Source:invalidate(access_token)
  hidden[self]:invalidate(access_token)
end

--- Names the client, never its secret.
function Source:__tostring()
  return ("wgtwo.oauth.client_credentials(client_id %s at %s)"):format(self.client_id, self.token_url)
end

receiver.check(Source, "source")

return new
