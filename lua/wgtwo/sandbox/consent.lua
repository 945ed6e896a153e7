--- The authorization endpoint: who asks, for what, and the user's consent, on a page with one button or by itself.
--
-- @module wgtwo.sandbox.consent

local http = require "wgtwo.sandbox.http"
local limits = require "wgtwo.limits"
local tokens = require "wgtwo.sandbox.tokens"

local consent = {}

--- Where the page's button leads.
consent.PATH = "/oauth2/auth/consent"

local function escape(text)
  return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }))
end

local function page(status, title, body)
  return status, ([[<!doctype html><html lang="en"><meta charset="utf-8"><title>%s</title>
<style>body{font:16px sans-serif;max-width:36em;margin:4em auto;padding:0 1em}button{font:inherit}</style>
<h1>%s</h1>%s</html>
]]):format(title, title, body), { ["Content-Type"] = "text/html; charset=utf-8", ["X-Frame-Options"] = "DENY",
    ["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'" }
end

local function wrong(text)
  return page(400, "The request cannot be answered", "<p>" .. escape(text) .. "</p>")
end

--- Sends the browser back to the client.
local function back(uri, parameters)
  local words = {}
  for name, value in pairs(parameters) do words[#words + 1] = name .. "=" .. http.encode(value) end
  table.sort(words)
  return 302, "", { Location = uri .. (uri:find("?", 1, true) and "&" or "?") .. table.concat(words, "&") }
end

local function knows_uri(client, uri)
  if not http.is_location(uri) then return false end
  if not client.redirect_uris then return uri:find("^https?://") ~= nil end
  for _, known in ipairs(client.redirect_uris) do
    if known == uri then return true end
  end
  return false
end

--- Checks an authorization request: the client, or nil and an answer.
local function check(sandbox, request)
  local client = sandbox.tokens.clients[request.client_id or ""]
  if not client then return nil, { wrong("client_id is missing, or not known") } end
  if not request.redirect_uri or not knows_uri(client, request.redirect_uri) then
    return nil, { wrong("redirect_uri is missing, or not one of the client's") }
  end
  local function refuse(code, description)
    return nil, { back(request.redirect_uri, { error = code, error_description = description, state = request.state }) }
  end
  if not request.response_type then return refuse("invalid_request", "response_type is missing") end
  if request.response_type ~= "code" then
    return refuse("unsupported_response_type", "response_type must be code")
  end
  if not request.state or #request.state < limits.oauth.state_min then
    return refuse("invalid_request", ("state must have at least %d characters"):format(limits.oauth.state_min))
  end
  local list, forbidden = sandbox.tokens:grantable(client, tokens.split(request.scope or ""))
  if not list then return refuse("invalid_scope", "the client may not have the scope " .. forbidden) end
  return client, nil, list
end

local function grant(sandbox, client, request, list)
  local user = { number = sandbox:pool(client.id)[1] }
  local code = sandbox.tokens:issue_code(client, list, user, request.redirect_uri, request.nonce)
  return back(request.redirect_uri, { code = code, state = request.state, scope = table.concat(list, " ") })
end

--- GET: the page, or the way back where the sandbox consents by itself.
function consent.ask(sandbox, request)
  local query = http.parameters(request:query())
  local client, refusal, list = check(sandbox, query)
  if not client then return table.unpack(refusal, 1, 3) end
  if sandbox.settings.consent == "auto" then return grant(sandbox, client, query, list) end
  local inputs, scopes = {}, {}
  for _, name in ipairs{ "client_id", "redirect_uri", "response_type", "state", "scope", "nonce" } do
    inputs[#inputs + 1] = ('<input type="hidden" name="%s" value="%s">'):format(name, escape(query[name] or ""))
  end
  for i, scope in ipairs(list) do scopes[i] = "<li>" .. escape(scope) .. "</li>" end
  return page(200, "Sandbox: consent", ([[<p><b>%s</b> asks for access to <b>%s</b>:</p><ul>%s</ul>
<form method="post" action="%s">%s<button name="consent" value="yes">Consent</button></form>]]):format(
    escape(client.id), escape(sandbox:pool(client.id)[1]), table.concat(scopes), consent.PATH, table.concat(inputs)))
end

--- POST of the page's button.
function consent.decide(sandbox, request)
  local form, problem = http.form(request:body())
  if not form then return wrong(problem) end
  local client, refusal, list = check(sandbox, form)
  if not client then return table.unpack(refusal, 1, 3) end
  if form.consent ~= "yes" then
    return back(form.redirect_uri, { error = "access_denied", error_description = "the user said no",
      state = form.state })
  end
  return grant(sandbox, client, form, list)
end

return consent
