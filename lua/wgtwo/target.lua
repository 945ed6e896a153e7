--- Where the API is, and the channel to it.
--
-- An environment's name becomes a target, the address of its tokens and the certificates to trust. For "local" they
-- are asked of the sandbox that WGTWO_SANDBOX names: its HTTP address answers `GET /` with a JSON object that has
-- `target` (TLS), `plaintext_target`, `ca` (PEM) and `token_url`.
--
-- @module wgtwo.target

local core = require "wgtwo.core"
local endpoint = require "wgtwo.oauth.endpoint"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local options = require "wgtwo.options"

local target = {}

--- The first of some environment variables that is set and not empty.
local function variable(names)
  for _, name in ipairs(names) do
    local value = os.getenv(name)
    if value and value ~= "" then return value, name end
  end
end

target.variable = variable

--- The host of a target: without port, brackets and a resolver's scheme.
-- @tparam string address such as "localhost:443", "[::1]:443", "dns:///host:443"
-- @treturn string
function target.host(address)
  local rest = address:match("^dns:///(.*)$") or address:match("^dns:(.*)$") or address:match("^ipv[46]:(.*)$")
    or address
  return rest:match("^%[([%x:.%%]+)%]") or rest:match("^([^:]*):%d+$") or rest
end

-- Addresses with a scheme of gRPC's own resolvers go as they are.
local schemes = { dns = true, ipv4 = true, ipv6 = true, unix = true, ["unix-abstract"] = true }

--- Whether an address can be a target. gRPC would cut a port to 16 bits, and look a URL up as a name.
-- @tparam string address
-- @treturn boolean
-- @treturn ?string why not
function target.check(address)
  local scheme = address:match("^(%a[%w+.-]*):")
  if schemes[scheme] then return true end
  if address:find("://", 1, true) then return false, ('"host:port" is needed, without "%s://"'):format(scheme) end
  local port = address:match("^%[[^%]]*%]:(.*)$") or address:match("^[^:]+:([^:]*)$")
  if port then
    local number = port:find("^%d+$") and math.tointeger(tonumber(port))
    if not number or number < 1 or number > 65535 then
      return false, ("the port must be from 1 to 65535, not %q"):format(port)
    end
  elseif address:find(":", 1, true) and not address:find("^%[[^%]]*%]$") then
    return false, '"host:port" is needed; an IPv6 address is in brackets: "[::1]:443"'
  end
  return true
end

--- Whether a target is on this machine.
-- @tparam string address
-- @treturn boolean
function target.is_loopback(address)
  if address:find("^unix") then return true end
  return endpoint.is_loopback(target.host(address))
end

local function failed(code, message, fields)
  fields = fields or {}
  fields.kind, fields.code, fields.message = "http", code, message
  return nil, errors.new(fields)
end

--- Asks a sandbox of this rock where everything is.
local function discover(url)
  local safe, why = endpoint.check_url(url)
  if not safe then
    if not url:find("^https?://") then why = "must be the HTTP address of a sandbox, such as http://127.0.0.1:8080" end
    return failed("no_sandbox", ('WGTWO_SANDBOX %s, not "%s"'):format(why, url))
  end
  local op <close> = core.http{
    method = "GET", url = url, headers = { "Accept: application/json" }, max_body = limits.oauth.max_answer,
    timeout = limits.connect_timeout, connect_timeout = limits.connect_timeout,
  }
  local response, reason = loop.result(op)
  local hint = "is the sandbox that WGTWO_SANDBOX names running?"
  if not response then return failed("no_sandbox", reason, { target = url, retryable = true, hint = hint }) end
  local body = core.json_decode(response.body)
  if response.status ~= 200 or type(body) ~= "table" or type(body.target) ~= "string" then
    return failed("no_sandbox", ("HTTP %d, and no description of a sandbox"):format(response.status),
      { target = url, http_status = response.status, hint = hint })
  end
  return body
end

local function local_environment(plaintext)
  local name = limits.environments["local"].variable
  local url = variable{ name }
  if not url then
    return failed("no_sandbox",
      ('the environment "local" needs %s, the HTTP address of a running sandbox'):format(name),
      { hint = "start one with wgtwo.sandbox.start{} and connect to sandbox:client(), or choose another env" })
  end
  local found, err = discover(url)
  if not found then return nil, err end
  local address = found.target
  if plaintext then address = found.plaintext_target end
  if type(address) ~= "string" then return failed("no_sandbox", "the sandbox offers no such port", { target = url }) end
  return { target = address, token_url = found.token_url, ca = found.ca }
end

--- The environment that options and variables name.
local function environment_name(o)
  if o.env then return o.env end
  local name, where = variable(limits.variables.environment)
  if name then
    if not limits.environments[name] then
      return nil, errors.new{ kind = "http", code = "no_environment",
        message = ('%s: there is no environment "%s"%s'):format(where, name,
          options.suggestion(name, limits.environments)) }
    end
    return name
  end
  return variable{ limits.environments["local"].variable } and "local" or "sandbox"
end

local function read_file(path, what)
  local file, reason = io.open(path, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  if not text then return nil, ("tls.%s: cannot read %s"):format(what, reason or path) end
  if not text:find("%-%-%-%-%-BEGIN ") or text:find("\0", 1, true) then
    return nil, ("tls.%s: %s is not in PEM format"):format(what, path)
  end
  return text
end

-- Where distributions keep the certificates of public authorities.
local bundles = {
  "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
}

--- The certificates of public authorities, as this machine has them. SSL_CERT_FILE names others.
local function system_bundle()
  local named = variable{ "SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" }
  for _, path in ipairs(named and { named } or bundles) do
    local file = io.open(path, "rb")
    if file then
      local text = file:read("a")
      file:close()
      if text and text:find("BEGIN CERTIFICATE", 1, true) then return text end
    end
  end
  return nil, "this machine has no CA certificates to check the server with: install the package ca-certificates, "
    .. "or give tls.ca_file"
end

--- Reads a file of certificates, which gRPC can use; `key` belongs to the first.
local function read_certificates(path, what, key)
  local text, reason = read_file(path, what)
  if not text then return nil, reason end
  local good, wrong = core.check_pem(text, key)
  if not good then return nil, ("tls.%s: %s: %s"):format(what, path, wrong) end
  return text
end

--- Reads the certificates that the options name.
local function certificates(settings, tls)
  local reason
  if tls.cert_file then
    settings.key, reason = read_file(tls.key_file, "key_file")
    if not settings.key then return nil, reason end
    settings.cert, reason = read_certificates(tls.cert_file, "cert_file", settings.key)
    if not settings.cert then return nil, reason end
  end
  if tls.insecure_skip_verify then return true end
  if tls.ca_file then
    settings.roots, reason = read_certificates(tls.ca_file, "ca_file")
  elseif not settings.roots then
    settings.roots, reason = system_bundle()
  end
  return settings.roots ~= nil, reason
end

--- Finds out where to connect, and what with.
-- @tparam table o the checked options of `wgtwo.connect`
-- @treturn ?table `target`, `plaintext`, `loopback`, `token_url`, `roots`, `cert`, `key` (PEM), `tls` (the options)
-- @treturn ?wgtwo.error
function target.resolve(o)
  local settings = { plaintext = o.plaintext, tls = o.tls or {}, token_url = limits.oauth.token_url }
  if o.target then
    settings.target = o.target
  else
    local name, err = environment_name(o)
    if not name then return nil, err end
    settings.env = name
    if name == "local" then
      local found
      found, err = local_environment(o.plaintext)
      if not found then return nil, err end
      settings.target, settings.roots = found.target, found.ca
      settings.token_url = found.token_url or settings.token_url
    else
      settings.target = limits.environments[name].target
    end
  end
  settings.loopback = target.is_loopback(settings.target)
  if not settings.plaintext then
    local ok, reason = certificates(settings, settings.tls)
    if not ok then return failed("no_certificates", reason, { target = settings.target }) end
  end
  return settings
end

local function milliseconds(seconds)
  return math.tointeger(math.ceil(math.min(seconds, 2e6) * 1000))
end

--- gRPC's channel arguments. Each is a measured or published need; see the comments of `wgtwo.limits`.
local function channel_args(o, settings, max_message_size)
  local args = {
    ["grpc.primary_user_agent"] = o.user_agent,
    -- without this one, pings stop after two on a stream that carries nothing
    ["grpc.http2.max_pings_without_data"] = 0,
    -- how long an attempt to connect may take, then how long until the next
    ["grpc.min_reconnect_backoff_ms"] = milliseconds(o.connect_timeout),
    ["grpc.initial_reconnect_backoff_ms"] = milliseconds(limits.reconnect_backoff.initial),
    ["grpc.max_reconnect_backoff_ms"] = milliseconds(limits.reconnect_backoff.max),
    -- a fixed, small window: 12 to 18 MB instead of 70 to 100 on a fast stream
    ["grpc.http2.bdp_probe"] = 0,
    ["grpc.http2.lookahead_bytes"] = 1024 * 1024,
    -- what is tried again is decided here, call by call
    ["grpc.enable_retries"] = 0,
    ["grpc.max_receive_message_length"] = max_message_size,
    -- a connection is its client's own, and ends with it
    ["grpc.use_local_subchannel_pool"] = 1,
  }
  if o.keepalive then
    args["grpc.keepalive_time_ms"] = milliseconds(o.keepalive.time)
    args["grpc.keepalive_timeout_ms"] = milliseconds(o.keepalive.timeout)
    args["grpc.keepalive_permit_without_calls"] = o.keepalive.without_calls and 1 or 0
  end
  if settings.loopback then args["grpc.enable_http_proxy"] = 0 end
  return args
end

--- Makes a channel. It connects when it is first used.
-- @tparam table o the checked options of `wgtwo.connect`
-- @tparam table settings of `resolve`
-- @tparam int max_message_size bytes of a received message
-- @treturn ?userdata
-- @treturn ?wgtwo.error
function target.channel(o, settings, max_message_size)
  local channel, reason = core.channel{
    target = settings.target, plaintext = settings.plaintext, roots = settings.roots,
    cert = settings.cert, key = settings.key, server_name = settings.tls.server_name,
    insecure_skip_verify = settings.tls.insecure_skip_verify, args = channel_args(o, settings, max_message_size),
  }
  if not channel then return failed("no_channel", reason, { target = settings.target }) end
  return channel
end

return target
