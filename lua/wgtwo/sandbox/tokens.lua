--- OAuth clients and their tokens: what was given out, to whom, for which scopes, until when.
--
-- Tokens are opaque and come from the seed, so they are worth nothing outside of this sandbox. A token is `client`,
-- `scopes` (a set), `scope` (as asked for), `expires_at`, `subject` (the phone number of a user, with the authorization
-- code grant).
--
-- @module wgtwo.sandbox.tokens

local random = require "wgtwo.sandbox.random"

local Tokens = {}
Tokens.__index = Tokens

local tokens = {}

--- How long a code of the authorization code grant can be exchanged, in seconds (undocumented, chosen here).
tokens.CODE_LIFETIME = 600

--- @tparam table clock
-- @tparam table settings `clients`, `expires_in`
-- @tparam int seed
-- @treturn table
function tokens.new(clock, settings, seed)
  local self = setmetatable({ clock = clock, settings = settings, random = random.new(seed, "tokens") }, Tokens)
  self:clear()
  return self
end

--- Forgets every token and code, and goes back to the clients of the settings.
function Tokens:clear()
  self.access, self.refresh, self.codes, self.clients = {}, {}, {}, {}
  for _, client in ipairs(self.settings.clients) do self.clients[client.id] = client end
end

--- Makes every token worthless, of either kind.
function Tokens:revoke_all()
  self.access, self.refresh = {}, {}
end

--- Compares without telling by its time where two texts differ.
local function same(a, b)
  if #a ~= #b then return false end
  local difference = 0
  for i = 1, #a do difference = difference | (a:byte(i) ~ b:byte(i)) end
  return difference == 0
end

--- The client of an id and secret.
-- @treturn ?table
function Tokens:authenticate(id, secret)
  local client = id and self.clients[id]
  if client and secret and same(client.secret, secret) then return client end
end

--- Splits a scope parameter.
-- @treturn table a list
function tokens.split(scope)
  local list = {}
  for word in scope:gmatch("%S+") do list[#list + 1] = word end
  return list
end

local function allowed(client, scope)
  if not client.scopes then return true end
  for _, own in ipairs(client.scopes) do
    if own == scope then return true end
  end
  return false
end

-- Of OpenID Connect: every client may ask for these.
local open_id = { openid = true, offline_access = true, phone = true, profile = true, email = true }

--- What a client gets of the scopes that it asks for: all, or with the setting `narrow_scopes` those that it may have.
-- @tparam table client
-- @tparam table list
-- @treturn ?table the list to grant
-- @treturn ?string the first scope that it may not have
function Tokens:grantable(client, list)
  local granted = {}
  for _, scope in ipairs(list) do
    if open_id[scope] or allowed(client, scope) then
      granted[#granted + 1] = scope
    elseif not self.settings.narrow_scopes then
      return nil, scope
    end
  end
  return granted
end

local function set_of(list)
  local set = {}
  for _, scope in ipairs(list) do set[scope] = true end
  return set
end

--- Gives out an access token.
-- @tparam table client
-- @tparam table list of scopes
-- @tparam ?table user `number`, `sub`
-- @treturn table
function Tokens:issue(client, list, user)
  local token = {
    value = "sandbox_at_" .. self.random:hex(40), client = client.id, scopes = set_of(list),
    scope = table.concat(list, " "), user = user, expires_in = self.settings.expires_in,
    expires_at = self.clock:now() + self.settings.expires_in,
  }
  self.access[token.value] = token
  return token
end

--- Gives out a refresh token for the same.
function Tokens:issue_refresh(client, list, user)
  local value = "sandbox_rt_" .. self.random:hex(40)
  self.refresh[value] = { value = value, client = client.id, list = list, user = user }
  return value
end

--- Gives out a code.
function Tokens:issue_code(client, list, user, redirect_uri, nonce)
  local value = "sandbox_ac_" .. self.random:hex(32)
  self.codes[value] = { client = client.id, list = list, user = user, redirect_uri = redirect_uri, nonce = nonce,
    expires_at = self.clock:now() + tokens.CODE_LIFETIME }
  return value
end

--- Takes a code, which can be used once.
-- @treturn ?table
function Tokens:take_code(value)
  local code = self.codes[value]
  self.codes[value] = nil
  if code and code.expires_at > self.clock:now() then return code end
end

--- The token of a value.
-- @treturn ?table
-- @treturn ?string why it does not count
function Tokens:check(value)
  local token = self.access[value]
  if not token then return nil, "the token is not known, or was revoked" end
  if token.expires_at <= self.clock:now() then return nil, "the token has expired" end
  return token
end

--- Makes a token, of either kind, worthless. Nothing happens when it is another client's.
function Tokens:revoke(client, value)
  for _, list in ipairs{ self.access, self.refresh } do
    if list[value] and list[value].client == client.id then list[value] = nil end
  end
end

return tokens
