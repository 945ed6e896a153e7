--- Faults of the wire: forwarders in front of the ports, which know nothing of what goes through them.
--
-- They stand there when the sandbox was started with `wire = true`: in front of both gRPC ports, and of the HTTP port
-- for OAuth. The HTTP port itself stays as it is, so that no fault shuts the admin API off: `oauth_url` and `token_url`
-- lead through the forwarder, `url` does not.
--
-- A setting has `where` it counts: "grpc" (the default), "http" or "all"; and `drop` (true, "up", "down"), `refuse`,
-- `half_open`, `delay` (seconds), `bandwidth` (bytes a second), `cut_after` (bytes towards the client); `reset = true`
-- and `close = true` end all connections now.
--
-- @module wgtwo.sandbox.wire

local core = require "wgtwo.core"

local wire = {}

-- Where a fault counts → the forwarders by their names.
local places = { grpc = { "tls", "plaintext" }, http = { "http" }, all = { "tls", "plaintext", "http" } }

--- Puts a forwarder in front of a port.
-- @tparam table sandbox the server
-- @tparam string name of the forwarder: "tls", "plaintext", "http"
-- @tparam int port of the server
-- @tparam int public the port to listen on, 0: chosen by the kernel
-- @treturn ?int the port that clients see
-- @treturn ?string why not
function wire.front(sandbox, name, port, public)
  local forwarder, problem = core.forwarder{ target = "127.0.0.1:" .. port, port = public }
  if not forwarder then return nil, problem end
  sandbox.forwarders = sandbox.forwarders or {}
  sandbox.forwarders[name] = forwarder
  return forwarder:port()
end

local switch = { type = "boolean" }
local function amount(unit) return { type = "number", or_false = true, min = 0, unit = unit } end

--- What a setting may say.
wire.spec = {
  where = { type = "string", one_of = places, default = "grpc" },
  drop = { type = { "boolean", "string" }, one_of = { "up", "down" } },
  refuse = switch, half_open = switch, reset = switch, close = switch,
  delay = amount("seconds"), bandwidth = amount("bytes a second"), cut_after = amount("bytes"),
}

local function refused(status, description)
  return status, { error = "invalid_request", error_description = description }
end

local function absent()
  return refused(409, "there is no forwarder: start the sandbox with wire = true")
end

--- What has gone through, and which connections there are, of each forwarder.
function wire.describe(sandbox)
  if not sandbox.forwarders then return absent() end
  local stats = {}
  for name, forwarder in pairs(sandbox.forwarders) do stats[name] = forwarder:stats() end
  return 200, stats
end

--- Sets faults; what is not named stays.
-- @tparam table sandbox the server
-- @tparam table given checked with `wire.spec`
function wire.set(sandbox, given)
  if not sandbox.forwarders then return absent() end
  local reset, close, names = given.reset, given.close, places[given.where]
  given.reset, given.close, given.where = nil, nil, nil
  for _, name in ipairs(names) do
    local forwarder = sandbox.forwarders[name]
    local ok, done, problem = pcall(forwarder.set, forwarder, given)
    if not ok or not done then return refused(400, tostring(ok and problem or done)) end
    if reset then forwarder:reset() end
    if close then forwarder:close_connections() end
  end
  return 200, {}
end

--- All faults off, everywhere.
function wire.clear(sandbox)
  if not sandbox.forwarders then return absent() end
  for _, forwarder in pairs(sandbox.forwarders) do forwarder:clear() end
  return 200, {}
end

--- Ends the forwarders.
function wire.close(sandbox)
  for _, forwarder in pairs(sandbox.forwarders or {}) do forwarder:close() end
end

return wire
