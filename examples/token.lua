-- Fetches a token, as the client does by itself: cached, renewed ahead of its end, asked for once however many wait.
--
--   lua5.4 examples/token.lua [SCOPE …]
--
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID and CLIENT_SECRET.

local wgtwo = require "wgtwo"

local scopes = table.pack(table.unpack(arg or {}))
if scopes.n == 0 then scopes = { "events.sms.subscribe" } end
scopes.n = nil

local function is_set(variable) return (os.getenv(variable) or "") ~= "" end

local options, sandbox
if not (is_set("WGTWO_ENV") or is_set("WGTWO_SANDBOX") or is_set("CLIENT_ID") or is_set("WGTWO_CLIENT_ID")) then
  sandbox = assert(wgtwo.sandbox.start{})
  options = sandbox:client()
end
local client <close> = assert(wgtwo.connect(options))

-- wgtwo.oauth.client_credentials{ client_id = …, client_secret = … } makes such a source without a client
local source = client.auth
if not source then
  print("set CLIENT_ID and CLIENT_SECRET")
  os.exit(1, true)
end

local token, err = source:token(scopes)
if token then
  print(("a %s token for \"%s\", for %d s"):format(token.token_type, token.scope, token.expires_in))
  print("asked again, the cache gives the same: " .. tostring(source:token(scopes) == token))
  print("printed, it shows nothing: " .. tostring(token))
else
  print("no token: " .. err)
end

client:close()
if sandbox then sandbox:close() end
os.exit(token and 0 or 1, true)
