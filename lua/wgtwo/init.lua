--- The Working Group Two APIs from Lua: tokens, event streams, SMS and every other call.
--
-- What each name is: `connect` (wgtwo.client), `oauth`, `error`, `message`, `sms`, `sandbox`, `schema`, `loop`,
-- `limits` (modules), `run`, `spawn`, `sleep` (of the scheduler). They are loaded when they are first used.
--
--     local wgtwo = require "wgtwo"
--     local client <close> = assert(wgtwo.connect())
--     for event in client:events{ types = {"SMS_EVENT"}, queue = "billing" } do
--       print(event.sms_event.text)
--       event:ack()
--     end
--
-- @module wgtwo

local wgtwo = { _VERSION = "0.1.0" }

-- Where each name comes from: the module, and its field where it is not the module itself.
local homes = {
  connect = { "wgtwo.client", "connect" },
  oauth = { "wgtwo.oauth" },
  error = { "wgtwo.error" },
  message = { "wgtwo.message" },
  sms = { "wgtwo.sms" },
  sandbox = { "wgtwo.sandbox" },
  schema = { "wgtwo.schema" },
  loop = { "wgtwo.loop" },
  limits = { "wgtwo.limits" },
  run = { "wgtwo.loop", "run" },
  spawn = { "wgtwo.loop", "spawn" },
  sleep = { "wgtwo.loop", "sleep" },
}

return setmetatable(wgtwo, {
  __index = function(_, name)
    local home = homes[name]
    if not home then return nil end
    local value = require(home[1])
    if home[2] then value = value[home[2]] end
    wgtwo[name] = value
    return value
  end,
})
