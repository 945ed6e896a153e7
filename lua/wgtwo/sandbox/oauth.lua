--- The OAuth 2.0 endpoints of the identity host, as RFC 6749 and the platform's documentation have them.
--
-- Grants: client credentials, authorization code, refresh token. Clients prove themselves with Basic authentication or
-- in the form. Undocumented, so chosen here: a token request without `scope` gets a token without scopes; a refresh
-- token can be used once, and a new one of the same scopes comes with the tokens; the user who consents is the first
-- number of the pool.
--
-- @module wgtwo.sandbox.oauth

local consent = require "wgtwo.sandbox.consent"
local http = require "wgtwo.sandbox.http"
local identity = require "wgtwo.sandbox.identity"
local limits = require "wgtwo.limits"
local tokens = require "wgtwo.sandbox.tokens"

local oauth = {}

local paths = limits.oauth.paths

local function failed(status, code, description, headers)
  return status, { error = code, error_description = description }, headers
end

--- Who asks: the client, or nil and an answer.
local function authenticate(sandbox, request, form)
  local id, secret = http.basic(request:header("Authorization"))
  if not id then id, secret = form.client_id, form.client_secret end
  local client = sandbox.tokens:authenticate(id, secret)
  if client then return client, nil, id end
  return nil, { failed(401, "invalid_client", id and "the client is not known, or not with these credentials"
    or "authenticate with Basic, or with client_id and client_secret in the form",
    { ["WWW-Authenticate"] = 'Basic realm="sandbox"' }) }, id
end

local function token_body(token, more)
  local body = { access_token = token.value, expires_in = math.tointeger(token.expires_in) or token.expires_in,
    scope = token.scope, token_type = "bearer" }
  for name, value in pairs(more or {}) do body[name] = value end
  return body
end

local grants = {}

function grants.client_credentials(sandbox, client, form)
  local list, forbidden = sandbox.tokens:grantable(client, tokens.split(form.scope or ""))
  if not list then return failed(400, "invalid_scope", "the client may not have the scope " .. forbidden) end
  return 200, token_body(sandbox.tokens:issue(client, list))
end

local function has(list, scope)
  for _, one in ipairs(list) do
    if one == scope then return true end
  end
  return false
end

--- The tokens of a user: with `openid` an id_token; with `offline_access` among what was granted at first a refresh
-- token, for all of that, although these tokens may be for less (RFC 6749, 6).
local function user_tokens(sandbox, client, granted, list, user, nonce)
  local more = {}
  if has(granted, "offline_access") then more.refresh_token = sandbox.tokens:issue_refresh(client, granted, user) end
  if has(list, "openid") then more.id_token = identity.id_token(sandbox, client, user, nonce) end
  return 200, token_body(sandbox.tokens:issue(client, list, user), more)
end

function grants.authorization_code(sandbox, client, form)
  if not form.code then return failed(400, "invalid_request", "code is missing") end
  local code = sandbox.tokens:take_code(form.code)
  if not code or code.client ~= client.id then
    return failed(400, "invalid_grant", "the code is not known, was used, or has expired")
  end
  if code.redirect_uri ~= form.redirect_uri then
    return failed(400, "invalid_grant", "redirect_uri is not that of the authorization request")
  end
  return user_tokens(sandbox, client, code.list, code.list, code.user, code.nonce)
end

function grants.refresh_token(sandbox, client, form)
  if not form.refresh_token then return failed(400, "invalid_request", "refresh_token is missing") end
  local found = sandbox.tokens.refresh[form.refresh_token]
  if not found or found.client ~= client.id then
    return failed(400, "invalid_grant", "the refresh token is not known, was used, or was revoked")
  end
  local list = form.scope and tokens.split(form.scope) or found.list
  for _, scope in ipairs(list) do
    if not has(found.list, scope) then
      return failed(400, "invalid_scope", "the scope " .. scope .. " was not granted")
    end
  end
  sandbox.tokens.refresh[form.refresh_token] = nil
  return user_tokens(sandbox, client, found.list, list, found.user)
end

local function is_form(request)
  local kind = request:header("Content-Type") or ""
  return kind:lower():find("^application/x%-www%-form%-urlencoded") ~= nil
end

local function answer_token(sandbox, request)
  if not is_form(request) then
    return failed(400, "invalid_request", "the body must be application/x-www-form-urlencoded")
  end
  local form, wrong = http.form(request:body())
  if not form then return failed(400, "invalid_request", wrong) end
  local client, refusal, id = authenticate(sandbox, request, form)
  local fault, delay = sandbox.faults:strike_token(id)
  local status, body, headers
  if not client then
    status, body, headers = table.unpack(refusal, 1, 3)
  elseif not form.grant_type then
    status, body = failed(400, "invalid_request", "grant_type is missing")
  elseif not grants[form.grant_type] then
    status, body = failed(400, "unsupported_grant_type", form.grant_type .. " is not offered")
  elseif not fault or not (fault.status or fault.error or fault.hang) then
    status, body, headers = grants[form.grant_type](sandbox, client, form)
  end
  sandbox.journal:note{ method = "POST " .. paths.token, client = id, code = fault and fault.status or status,
    request = { grant_type = form.grant_type, scope = form.scope }, fault = fault and true or nil }
  return status, body, headers, fault, delay
end

--- What a fault makes of an answer, as `http.respond` takes it.
local function spoil(fault, status, body, headers)
  headers = headers or {}
  if fault.status or fault.error then
    status = fault.status or 400
    body = { error = fault.error or "server_error", error_description = "fault" }
  end
  if fault.expires_in ~= nil and body.access_token then body.expires_in = fault.expires_in end
  if fault.body then body = fault.body end
  if fault.content_type then headers["Content-Type"] = fault.content_type end
  return status, body, headers, fault.cut
end

local function token(sandbox, request)
  local status, body, headers, fault, delay = answer_token(sandbox, request)
  if not fault then return status, body, headers end
  if fault.hang then
    table.insert(sandbox.held, request) -- kept, so that it stays open
    return http.LATER
  end
  local cut
  status, body, headers, cut = spoil(fault, status, body or {}, headers)
  if not delay then return status, body, headers, cut end
  sandbox.clock:after(delay, function() http.respond(request, status, body, headers, cut) end)
  return http.LATER
end

local function revoke(sandbox, request)
  local form, wrong = http.form(request:body())
  if not form then return failed(400, "invalid_request", wrong) end
  local client, refusal = authenticate(sandbox, request, form)
  if not client then return table.unpack(refusal, 1, 3) end
  if not form.token then return failed(400, "invalid_request", "token is missing") end
  sandbox.tokens:revoke(client, form.token)
  return 200, ""
end

local function userinfo(sandbox, request)
  local value = (request:header("Authorization") or ""):match("^[Bb]earer +(%S+)$")
  local found, problem
  if value then found, problem = sandbox.tokens:check(value) end
  if not found then
    return failed(401, "invalid_token", problem or "a bearer token is needed",
      { ["WWW-Authenticate"] = 'Bearer realm="sandbox", error="invalid_token"' })
  end
  if not found.user then return failed(403, "insufficient_scope", "the token is not that of a user") end
  return 200, identity.userinfo(sandbox, found.client, found.user)
end

local function logout(_, request)
  local uri = http.parameters(request:query()).post_logout_redirect_uri
  if not uri then return 200, "You are logged out.\n" end
  if not http.is_location(uri) then
    return failed(400, "invalid_request", "post_logout_redirect_uri: there are control characters in it")
  end
  return 302, "", { Location = uri }
end

--- Adds the endpoints.
-- @tparam table sandbox the server
function oauth.register(sandbox)
  sandbox.held = {} -- requests that are never answered
  local function on(method, path, f)
    sandbox.http:on(method, path, function(request) return f(sandbox, request) end)
  end
  on("POST", paths.token, token)
  on("POST", paths.revoke, revoke)
  on("GET", paths.userinfo, userinfo)
  on("GET", paths.logout, logout)
  on("GET", paths.authorize, consent.ask)
  on("POST", consent.PATH, consent.decide)
  on("GET", paths.keys, identity.keys)
  on("GET", "/.well-known/openid-configuration", identity.discovery)
end

return oauth
