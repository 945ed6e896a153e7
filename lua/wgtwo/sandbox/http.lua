--- HTTP: from a request to the function that answers it. One port serves OAuth, the admin API, and whatever comes.
--
-- A route's function gets the request of the core and returns an answer: what `http.respond` takes after the request.
-- It returns `http.LATER` when it answers by itself. Only this machine is served: a request whose Host is another name
-- was not meant for a sandbox.
--
-- @module wgtwo.sandbox.http

local core = require "wgtwo.core"
local httpd = require "wgtwo.httpd"
local reactor = require "wgtwo.sandbox.reactor"

local Http = {}
Http.__index = Http

local http = {}

local MAX_BODY <const> = 256 * 1024 * 1024 -- bytes: a snapshot that comes back

--- A route's answer that comes later, by `http.respond`.
http.LATER = {}

--- Listens.
-- @tparam table loop the reactor
-- @tparam string address
-- @tparam int port 0: chosen by the kernel
-- @treturn ?table
-- @treturn ?string why not
function http.new(loop, address, port)
  local daemon, problem = httpd.listen{ address = address, port = port, max_body = MAX_BODY }
  if not daemon then return nil, problem end
  local self = setmetatable({ daemon = daemon, routes = {}, prefixes = {} }, Http)
  loop:watch(daemon, function() self:take() end)
  return self
end

--- Adds a route.
-- @tparam string method
-- @tparam string path one that ends in "/" takes everything below it
-- @tparam function f called with the request, and what is below
function Http:on(method, path, f)
  if path:sub(-1) == "/" and path ~= "/" then
    table.insert(self.prefixes, { method = method, path = path, f = f })
  else
    self.routes[path] = self.routes[path] or {}
    self.routes[path][method] = f
  end
end

local function send(request, status, body, headers, cut_after)
  headers = headers or {}
  if type(body) == "table" then
    body = core.json_encode(body)
    headers["Content-Type"] = headers["Content-Type"] or "application/json"
  end
  if status ~= 204 and not headers["Content-Type"] then headers["Content-Type"] = "text/plain; charset=utf-8" end
  headers["Cache-Control"], headers["Pragma"] = "no-store", "no-cache" -- RFC 6749 5.1 wants both
  request:respond(status, headers, body or "", { cut_after = cut_after })
end

--- Says what went wrong here; what it gives is told to whoever asked, who would wait for ever otherwise.
local function complain(request, problem)
  if reactor.is_interrupt(problem) then error(problem, 0) end
  io.stderr:write("wgtwo sandbox: ", request:path(), ": ", tostring(problem), "\n")
  return 500, { error = "server_error", error_description = "the sandbox has a defect" }
end

--- Answers a request: with 500 where the answer cannot be sent.
-- @tparam userdata request
-- @tparam int status
-- @tparam ?string|table body a table is sent as JSON
-- @tparam ?table headers
-- @tparam ?int cut_after bytes of the body after which the connection ends; its whole length is announced
function http.respond(request, status, body, headers, cut_after)
  local ok, problem = xpcall(send, debug.traceback, request, status, body, headers, cut_after)
  if not ok then send(request, complain(request, problem)) end
end

local function is_local(host)
  if not host then return true end
  local name = host:gsub(":%d+$", ""):lower()
  return name == "localhost" or name == "[::1]" or name:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function find(self, method, path)
  local route = self.routes[path]
  if route then
    if route[method] or method == "HEAD" and route.GET then return route[method] or route.GET end
    local allowed = {}
    for name in pairs(route) do allowed[#allowed + 1] = name end
    table.sort(allowed)
    return nil, table.concat(allowed, ", ")
  end
  for _, prefix in ipairs(self.prefixes) do
    if prefix.method == method and path:sub(1, #prefix.path) == prefix.path then
      return prefix.f, path:sub(#prefix.path + 1)
    end
  end
end

--- Whether what may come back in an answer is a text.
local function is_text(request)
  if not utf8.len(request:path()) then return false end
  for name, value in pairs(request:query()) do
    if not (utf8.len(name) and utf8.len(value)) then return false end
  end
  return true
end

local function handle(self, request)
  if not is_local(request:header("Host")) then
    return 403, { error = "forbidden", error_description = "this sandbox serves its own machine only" }
  end
  if not is_text(request) then
    return 400, { error = "invalid_request", error_description = "path and query must be valid UTF-8" }
  end
  local f, rest = find(self, request:method(), request:path())
  if f then return f(request, rest) end
  if rest then
    return 405, { error = "method_not_allowed", error_description = ("%s takes %s"):format(request:path(), rest) },
      { Allow = rest }
  end
  return 404, { error = "not_found", error_description = "there is nothing at " .. request:path() }
end

--- Answers every request that has arrived.
function Http:take()
  local request = self.daemon:take()
  while request do
    local ok, status, body, headers, cut_after = xpcall(handle, debug.traceback, self, request)
    if not ok then
      http.respond(request, complain(request, status))
    elseif status ~= http.LATER then
      http.respond(request, status, body, headers, cut_after)
    end
    request = self.daemon:take()
  end
end

--- Decodes one word of a form.
local function decode(word)
  return (word:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- Encodes one word of a query.
-- @tparam string word
-- @treturn string
function http.encode(word)
  return (word:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Whether a text can be where a browser is sent: an HTTP header takes no line breaks.
-- @tparam string uri
-- @treturn boolean
function http.is_location(uri)
  return not uri:find("%c")
end

--- Parameters as RFC 6749 (3.1, 3.2) takes them: one without a value counts as omitted.
-- @tparam table given name → value
-- @treturn table
function http.parameters(given)
  local parameters = {}
  for name, value in pairs(given) do
    if value ~= "" then parameters[name] = value end
  end
  return parameters
end

--- The parameters of a form.
-- @tparam string body application/x-www-form-urlencoded
-- @treturn ?table name → value, as `parameters` gives them
-- @treturn ?string what is wrong with it
function http.form(body)
  local parameters = {}
  for pair in body:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name, value = decode(name), decode(value)
    if not (utf8.len(name) and utf8.len(value)) then return nil, "a parameter is no valid UTF-8" end
    if parameters[name] ~= nil then return nil, name .. " is there twice" end
    parameters[name] = value
  end
  return http.parameters(parameters)
end

--- Id and secret of Basic authentication.
-- @tparam ?string header
-- @treturn ?string
-- @treturn ?string
function http.basic(header)
  local encoded = header and header:match("^[Bb]asic +([%w+/]+=*)$")
  if not encoded then return nil end
  local id, secret = http.base64_decode(encoded):match("^([^:]*):(.*)$")
  if not id then return nil end
  return decode(id), decode(secret)
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Decodes Base64.
-- @tparam string text
-- @treturn string
function http.base64_decode(text)
  local bytes, value, bits = {}, 0, 0
  for c in text:gmatch("[%w+/]") do
    value = (value << 6 | alphabet:find(c, 1, true) - 1) & 0xFFFFFF
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      bytes[#bytes + 1] = string.char(value >> bits & 0xFF)
    end
  end
  return table.concat(bytes)
end

--- Stops listening.
function Http:close()
  self.daemon:close()
end

return http
