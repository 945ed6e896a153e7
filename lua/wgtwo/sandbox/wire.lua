--- Faults of the wire: forwarders in front of the gRPC ports, which know nothing of what goes through them.
--
-- They stand there when the sandbox was started with `wire = true`. A setting counts for both ports: `drop` (true,
-- "up", "down"), `refuse`, `half_open`, `delay` (seconds), `bandwidth` (bytes a second), `cut_after` (bytes towards the
-- client); `reset = true` and `close = true` end all connections now.
--
-- @module wgtwo.sandbox.wire

local core = require "wgtwo.core"

local wire = {}

--- Puts a forwarder in front of a port.
-- @tparam table sandbox the server
-- @tparam int port of the server
-- @tparam int public the port to listen on, 0: chosen by the kernel
-- @treturn ?int the port that clients see
-- @treturn ?string why not
function wire.front(sandbox, port, public)
  local forwarder, problem = core.forwarder{ target = "127.0.0.1:" .. port, address = sandbox.settings.host,
    port = public }
  if not forwarder then return nil, problem end
  sandbox.forwarders = sandbox.forwarders or {}
  table.insert(sandbox.forwarders, forwarder)
  return forwarder:port()
end

local function absent()
  return 409, { error = "invalid_request",
    error_description = "there is no forwarder: start the sandbox with wire = true" }
end

--- What has gone through.
function wire.describe(sandbox)
  if not sandbox.forwarders then return absent() end
  local list = {}
  for i, forwarder in ipairs(sandbox.forwarders) do list[i] = forwarder:stats() end
  return 200, { tls = list[1], plaintext = list[2] }
end

--- Sets faults; what is not named stays.
function wire.set(sandbox, given)
  if not sandbox.forwarders then return absent() end
  local reset, close = given.reset, given.close
  given.reset, given.close = nil, nil
  for _, forwarder in ipairs(sandbox.forwarders) do
    local ok, done, problem = pcall(forwarder.set, forwarder, given)
    if not ok or not done then
      return 400, { error = "invalid_request", error_description = tostring(ok and problem or done) }
    end
    if reset then forwarder:reset() end
    if close then forwarder:close_connections() end
  end
  return 200, {}
end

--- All faults off.
function wire.clear(sandbox)
  if not sandbox.forwarders then return absent() end
  for _, forwarder in ipairs(sandbox.forwarders) do forwarder:clear() end
  return 200, {}
end

--- Ends the forwarders.
function wire.close(sandbox)
  for _, forwarder in ipairs(sandbox.forwarders or {}) do forwarder:close() end
end

return wire
