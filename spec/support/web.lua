-- HTTP from both ends in one process, driven through core.poll: wgtwo.httpd's daemons, and requests of core.http.

local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local pair = require("spec.support.pair")

local web = {}

--- A daemon on a port that the kernel chose.
-- @treturn daemon
-- @treturn string "http://127.0.0.1:PORT", or https://localhost:PORT with a certificate
function web.listen(options)
  local daemon = assert(httpd.listen(options or {}))
  local origin = options and options.cert and "https://localhost:" or "http://127.0.0.1:"
  return daemon, origin .. daemon:port()
end

--- The next request that the daemon gets.
function web.accept(daemon)
  return pair.take(daemon)
end

--- The result of a request under way, while the daemon's requests go to `handler`, if there is one.
function web.finish(operation, daemon, handler)
  local result
  pair.until_(function()
    local request = handler and daemon:take()
    if request then
      handler(request)
      request:close()
    end
    result = table.pack(operation:take())
    return result[1] ~= false
  end, "the end of an HTTP request")
  operation:close()
  return table.unpack(result, 1, result.n)
end

--- One request from begin to end.
-- @tparam table options of core.http
-- @treturn table status, headers, body; or nil, text and curl's code
function web.fetch(options, daemon, handler)
  return web.finish(assert(core.http(options)), daemon, handler)
end

--- A file with this text, of a name that `os.tmpname` chose.
function web.file(text)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
  return path
end

return web
