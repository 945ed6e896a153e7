--- Why a connection fails, in one line that says what to do.
--
-- gRPC's status says enough of a refused connection or an unknown name. For the rest ("Socket closed", "certificate
-- verify failed") one more connection is made, without a call on it, that looks at what the server says: `core.probe`.
-- It adds at most a second, and what it found serves all calls that fail the same way within the next two.
--
-- @module wgtwo.diagnosis

local core = require "wgtwo.core"
local loop = require "wgtwo.loop"
local target = require "wgtwo.target"

local diagnosis = {}

local PROBE_TIMEOUT <const> = 0.8 -- seconds
local PROBE_LIMIT <const> = 1 -- seconds until it is given up
local KEPT <const> = 2 -- seconds that a finding serves

local hints = {
  refused = "is the server running there?",
  name_not_found = "is the name right, and is there a network?",
  tls_server = "connect without plaintext = true",
  plaintext_server = "is the port right? For a server on this machine there is plaintext = true",
  unknown_ca = "give the certificate of its CA as tls.ca_file",
  wrong_name = "connect by a name of the certificate, or set tls.server_name to one",
  expired = "the server needs a new certificate, or the clock of this machine is wrong",
  not_yet_valid = "the clock of this machine may be wrong",
  client_certificate = "give one that the server accepts as tls.cert_file and tls.key_file",
  timeout = "is the port right, and no firewall in between?",
}

-- The name of a target that gRPC could not resolve, and what its resolver said.
local function unresolved(message)
  return message:match("^DNS resolution failed for ([^%s]-):? .*: ([^:]+)$")
    or message:match("^DNS resolution failed for ([^%s]+)")
end

local function name_not_found(message, own)
  local name, said = unresolved(message)
  local text = ('no address is known for the name "%s"'):format(target.host(own) or name)
  if said and (said:find("[Tt]imeout") or said:find("contact DNS")) then
    text = "the name server does not answer"
  end
  return { reason = "name_not_found", text = text }
end

--- What gRPC said of its last attempt, without its own prefixes: text, IP address, port.
local function last_attempt(message)
  local text = message:match("^failed to connect to all addresses; last error: (.*)$")
  if not text then return nil end
  text = text:gsub("^[A-Z_]+: ", "")
  local address, port, rest = text:match("^ipv4:([%d.]+):(%d+): (.*)$")
  if not address then address, port, rest = text:match("^ipv6:%[([%x:.%%]+)%]:(%d+): (.*)$") end
  if not address then address, port, rest = text:match("^ipv6:%%5B([%x:.]+)%%5D:(%d+): (.*)$") end
  return rest or text, address, math.tointeger(port)
end

-- What needs no second look.
local function plain_finding(text)
  if text:find("Connection refused", 1, true) then
    return { reason = "refused", text = "nothing listens there: connection refused" }
  elseif text:find("timed out before receiving SETTINGS", 1, true) then
    return { reason = "timeout", text = "the server accepts the connection, but stays silent: timeout" }
  end
end

local function is_address(host)
  return host:find("^[%d.]+$") ~= nil or host:find(":", 1, true) ~= nil
end

-- gRPC connects through the proxy that these name; a direct look would be at something else.
local function has_proxy(settings)
  if settings.loopback then return false end
  for _, name in ipairs{ "grpc_proxy", "https_proxy", "http_proxy" } do
    if target.variable{ name } then return true end
  end
  return false
end

local function probe(own, settings, address, port)
  local tls = settings.tls or {}
  local op <close> = core.probe{
    host = address, port = port, plaintext = settings.plaintext, roots = settings.roots, cert = settings.cert,
    key = settings.key, server_name = tls.server_name or target.host(own),
    insecure_skip_verify = tls.insecure_skip_verify, timeout = PROBE_TIMEOUT,
  }
  if not op then return nil end
  local deadline = core.now() + PROBE_LIMIT
  local found = op:take()
  while found == false and loop.wait(op, deadline) do found = op:take() end
  return found and found.reason and found or nil
end

-- settings -> the last finding: message, text, reason; at = when; signal while it is being found
local findings = setmetatable({}, { __mode = "k" })

local function find(own, settings, message)
  if unresolved(message) then return name_not_found(message, own) end
  local text, address, port = last_attempt(message)
  if not text then return nil end
  local finding, host = plain_finding(text), target.host(own)
  if not port or port == 0 or has_proxy(settings) then
    return finding or { reason = "other", text = text }
  elseif not finding then
    finding = probe(own, settings, address, port)
  elseif finding.reason == "refused" and not is_address(host) then -- the name's other addresses may say more
    local other = probe(own, settings, host, port)
    if other and other.reason ~= "name_not_found" then finding = other end
  end
  return finding or { reason = "other", text = text }
end

--- The finding for a message; of several tasks with the same one, the first looks and the others wait.
local function find_once(own, settings, message)
  local last = findings[settings]
  if last and last.message == message then
    if last.signal then last.signal:wait(core.now() + PROBE_LIMIT) end
    if not last.at or core.now() - last.at < KEPT then return last.finding end
  end
  local entry <close> = setmetatable({ message = message, signal = loop.signal() }, { __close = function(self)
    self.at = core.now()
    self.signal:notify()
    self.signal = nil
  end })
  findings[settings] = entry
  entry.finding = find(own, settings, message)
  return entry.finding
end

--- Says why a connection could not be made. Waits for at most a second (in a task, it yields).
-- @tparam string own the target that was connected to: "host:port"
-- @tparam table settings `plaintext`, `roots`, `cert`, `key` (PEM), `loopback`, `tls` (the options), as
--   `wgtwo.target.resolve` makes them
-- @tparam table status of a call that ended with UNAVAILABLE: `message` and `error`, gRPC's texts
-- @treturn ?string one line: `cannot connect to localhost:1: nothing listens there: connection refused`; nil when the
--   status is not one of a failed connection
-- @treturn ?string what to do next, where that is known
-- @treturn ?string `refused`, `name_not_found`, `plaintext_server`, `tls_server`, `unknown_ca`, `wrong_name`,
--   `expired`, `not_yet_valid`, `client_certificate`, `timeout`, `reset` or `other`
-- @usage local text, hint, reason = diagnosis.explain("localhost:1", settings, call:status())
function diagnosis.explain(own, settings, status)
  local message = status.message or ""
  if (status.error or ""):find("Error received from peer", 1, true) then return nil end
  local finding = find_once(own, settings, message)
  if not finding then return nil end
  return ("cannot connect to %s: %s"):format(own, finding.text), hints[finding.reason], finding.reason
end

return diagnosis
