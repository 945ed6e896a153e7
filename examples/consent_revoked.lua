-- Subscribers who revoke their consent: their data is to be deleted, by v0's events and v1's in one loop.
--
--   lua5.4 examples/consent_revoked.lua [COUNT]        COUNT: end after so many events
--
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID, CLIENT_SECRET and WGTWO_ENV.

local wgtwo = require "wgtwo"

io.stdout:setvbuf("line")
local count = tonumber(arg and arg[1] or math.huge)
if not count or count < 1 then
  io.stderr:write("COUNT is a number, 1 or more, not ", arg[1], "\n")
  os.exit(1)
end

local function is_set(variable) return (os.getenv(variable) or "") ~= "" end

local options, sandbox
if not (is_set("WGTWO_ENV") or is_set("WGTWO_SANDBOX") or is_set("CLIENT_ID") or is_set("WGTWO_CLIENT_ID")) then
  sandbox = assert(wgtwo.sandbox.start{
    generate = { types = { "CONSENT_REVOKE_EVENT", "consent_change" }, rate = 5 },
  })
  options = sandbox:client()
end
local client <close> = assert(wgtwo.connect(options))

local function forget(number)
  print("forget everything about " .. (number or "a whole tenant"))
end

local handlers = {}

function handlers.CONSENT_REVOKE_EVENT(event)
  forget(event.number)
end

function handlers.consent_change(event)
  local kind = wgtwo.message.which(event.payload, "type")
  if kind == "revoked" then
    forget(event.number)
  else
    local scopes = table.concat(event.payload[kind].scopes, ", ")
    print(("%s: consent %s for %s"):format(event.number or "a tenant", kind, scopes))
  end
end

local ok, err = pcall(function()
  print(("waiting for CONSENT_REVOKE_EVENT and consent_change at %s; Ctrl-C ends"):format(client.target))
  local handled = 0
  -- max_in_flight = 1: one after the other, since the order matters: revoked, then given again
  for event in client:events{ types = { "CONSENT_REVOKE_EVENT", "consent_change" }, queue = "consents",
    max_in_flight = 1, start = "oldest" } do
    handlers[event.type](event)
    event:ack()
    handled = handled + 1
    if handled >= count then break end
  end
end)

client:close()
if sandbox then sandbox:close() end
if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
