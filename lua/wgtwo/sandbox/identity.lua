--- Who a user is: userinfo, id_token, the keys that sign it, and the discovery document.
--
-- Keys are made when they are first needed, two, so that nobody takes the first for the right one; the newest signs,
-- the ones before it stay in the list (`rotate`).
--
-- @module wgtwo.sandbox.identity

local core = require "wgtwo.core"
local httpd = require "wgtwo.httpd"
local limits = require "wgtwo.limits"
local random = require "wgtwo.sandbox.random"

local identity = {}

local FEWEST <const>, MOST <const> = 2, 3 -- keys in the list

local paths = limits.oauth.paths
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

--- Base64 in the alphabet of URLs, without padding.
local function base64url(bytes)
  local text = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local value = a << 16 | (b or 0) << 8 | (c or 0)
    for j = 0, b and (c and 3 or 2) or 1 do
      local index = value >> (18 - 6 * j) & 0x3F
      text[#text + 1] = alphabet:sub(index + 1, index + 1)
    end
  end
  return table.concat(text)
end

local subject_of = random.remembered(function(text) return random.of(text):uuid() end)

--- The subject of a user for a client: pairwise, so two clients see different ones.
-- @tparam string client its id
-- @tparam table user
-- @treturn string
function identity.subject(client, user)
  return subject_of("subject " .. client .. " " .. user.number)
end

--- What the user info endpoint says.
-- @treturn table
function identity.userinfo(_, client, user)
  return { phone_number = user.number, phone_number_verified = true, sid = random.of("session " .. user.number):uuid(),
    sub = identity.subject(client, user) }
end

local function new_key(pem)
  local key = httpd.signing_key(pem)
  return { key = key, id = random.of(key:modulus()):hex(16), pem = key:pem() }
end

local function newest_key(sandbox)
  sandbox.keys = sandbox.keys or {}
  while #sandbox.keys < FEWEST do identity.rotate(sandbox) end
  return sandbox.keys[#sandbox.keys]
end

--- Makes a new key that signs from now on; two of the older ones stay known.
function identity.rotate(sandbox)
  sandbox.keys = sandbox.keys or {}
  table.insert(sandbox.keys, new_key())
  if #sandbox.keys > MOST then table.remove(sandbox.keys, 1) end
end

--- The keys there are, for a snapshot.
-- @treturn table a list of private keys, PEM
function identity.export(sandbox)
  local list = {}
  for i, key in ipairs(sandbox.keys or {}) do list[i] = key.pem end
  return core.json_array(list)
end

--- Puts back what `export` gave.
function identity.import(sandbox, list)
  sandbox.keys = {}
  for i, pem in ipairs(list) do sandbox.keys[i] = new_key(pem) end
end

--- A signed JSON Web Token about the user.
-- @treturn string
function identity.id_token(sandbox, client, user, nonce)
  local key = newest_key(sandbox)
  local now = math.floor(sandbox.clock:now())
  local head = core.json_encode{ alg = "RS256", typ = "JWT", kid = key.id }
  local claims = core.json_encode{ iss = sandbox.url, sub = identity.subject(client.id, user), aud = { client.id },
    iat = now, auth_time = now, exp = now + math.floor(sandbox.settings.expires_in), nonce = nonce,
    phone_number = user.number, phone_number_verified = true }
  local signed = base64url(head) .. "." .. base64url(claims)
  return signed .. "." .. base64url(key.key:sign(signed))
end

--- The public keys.
function identity.keys(sandbox)
  newest_key(sandbox)
  local list = {}
  for i, key in ipairs(sandbox.keys) do
    list[i] = { kty = "RSA", use = "sig", alg = "RS256", kid = key.id, n = base64url(key.key:modulus()),
      e = base64url(key.key:exponent()) }
  end
  return 200, { keys = list }
end

--- The discovery document of OpenID Connect.
function identity.discovery(sandbox)
  local url = sandbox.oauth_url
  return 200, {
    issuer = sandbox.url, authorization_endpoint = url .. paths.authorize, token_endpoint = url .. paths.token,
    revocation_endpoint = url .. paths.revoke, userinfo_endpoint = url .. paths.userinfo,
    end_session_endpoint = url .. paths.logout, jwks_uri = url .. paths.keys,
    response_types_supported = { "code" }, subject_types_supported = { "pairwise" },
    grant_types_supported = { "authorization_code", "client_credentials", "refresh_token" },
    id_token_signing_alg_values_supported = { "RS256" },
    token_endpoint_auth_methods_supported = { "client_secret_basic", "client_secret_post" },
    scopes_supported = { "openid", "offline_access", "phone" },
    claims_supported = { "sub", "phone_number", "phone_number_verified" },
  }
end

return identity
