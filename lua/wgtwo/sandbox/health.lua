--- `grpc.health.v1.Health`: every service that the sandbox has is serving.
--
-- @module wgtwo.sandbox.health

local core = require "wgtwo.core"
local descriptors = require "wgtwo.sandbox.descriptors"
local status = require "wgtwo.sandbox.status"

local health = {}

--- Adds the service to the sandbox.
-- @tparam table sandbox the server
function health.register(sandbox)
  local function knows(service)
    if service == "" then return true end
    for _, route in pairs(sandbox.calls.routes) do
      if route.method.service == service then return true end
    end
    return false
  end
  sandbox:serve(descriptors.method("grpc.health.v1.Health/Check"), { unary = function(_, _, request)
    if knows(request.service) then return { status = "SERVING" } end
    return nil, status.new("NOT_FOUND", "unknown service " .. request.service)
  end })
  local watch = descriptors.method("grpc.health.v1.Health/Watch")
  sandbox:serve(watch, { stream = function(_, exchange, request)
    exchange:send(core.encode(watch.output, { status = knows(request.service) and "SERVING" or "SERVICE_UNKNOWN" }))
  end })
end

return health
