-- An API server in this process, for tests of the client: real sockets, and answers that each test writes itself.
--
--     local api <close> = require("spec.support.api").start()
--     api:on("SmsService/SendTextToSubscriber", function(call)
--       call:reply{ message_id = "1", status = "SEND_STATUS_OK" }   -- and OK; call:fail(14, "gone") for others
--     end)
--
-- A handler runs in a background task, so it may wait: for `call:request()`, for `call:cancelled()`, in wgtwo.sleep.
-- What the server saw is in `api.calls`: path, metadata, request, peer.

local core = require("wgtwo.core")
local loop = require("wgtwo.loop")
local patience = require("spec.support.patience")
local schema = require("wgtwo.schema")

local M = {}

local Api = {}
Api.__index = Api

local Call = {}
Call.__index = Call

--- Waits until `try()` gives something else than false.
local function await(op, try)
  local results = table.pack(try())
  while results[1] == false do
    loop.wait(op)
    results = table.pack(try())
  end
  return table.unpack(results, 1, results.n)
end

--- The next message of the client; nil after its last, or when the call was cancelled.
function Call:request()
  local message = await(self.op, function() return self.op:take(self.method.input) end)
  self.record.request = message or self.record.request
  return message
end

--- Sends a message; false where the call is over.
function Call:send(fields)
  local bytes = type(fields) == "string" and fields or core.encode(self.method.output, fields)
  while not self.op:cancelled() do
    if self.op:write(bytes) then return true end
    loop.wait(self.op)
  end
  return false
end

--- Sends a message and ends the call well.
function Call:reply(fields, trailers)
  self:send(fields)
  self.op:finish(0, "", trailers or {})
  self.done = true
end

--- Ends the call with a status.
function Call:fail(code, message, trailers)
  self.op:finish(code, message or "", trailers or {})
  self.done = true
end

--- Waits until the client has cancelled, or gone.
function Call:until_cancelled()
  while not self.op:cancelled() do loop.wait(self.op) end
end

local function metadata_map(list)
  local map = {}
  for _, pair in ipairs(list) do map[pair[1]] = pair[2] end
  return map
end

local function serve(api, op)
  local path = op:path()
  local method = schema.resolve(path)
  local record = { path = path, name = method.name, metadata = metadata_map(op:metadata()), at = core.now() }
  local call = setmetatable({ op = op, method = method, api = api, record = record, metadata = record.metadata }, Call)
  api.calls[#api.calls + 1] = record
  api.open[op] = true
  api.news:notify()
  if not method.client_streaming then call:request() end
  if method.server_streaming then op:headers() end
  local handler = api.handlers[method.name]
  if not handler then
    call:fail(12, "this test has no handler for " .. method.name)
  else
    handler(call)
    if not call.done then call:fail(0) end
  end
  api.open[op] = nil
  op:close()
end

--- Sets what answers a method.
function Api:on(name, handler)
  self.handlers[schema.resolve(name).name] = handler
end

--- The calls of a method that were seen, in order.
function Api:seen(name)
  local full, list = schema.resolve(name).name, {}
  for _, record in ipairs(self.calls) do
    if record.name == full then list[#list + 1] = record end
  end
  return list
end

--- Waits until a condition holds, as long as calls come in.
function Api.until_(_, condition, what)
  local deadline = core.now() + patience.limit
  while not condition() do
    if core.now() > deadline then error((what or "it") .. " did not happen", 2) end
    loop.sleep(0.002)
  end
end

--- Ends every call that is open, without a status.
function Api:drop_all()
  for op in pairs(self.open) do
    op:reset()
    self.open[op] = nil
  end
end

local function listen(api, options)
  api.server = core.server()
  local port = assert(api.server:listen("127.0.0.1:" .. (options.port or 0), options.tls))
  api.server:start()
  api.port, api.target = port, "127.0.0.1:" .. port
  api.acceptor = loop.daemon("test server", function()
    while true do
      local op = await(api.server, function() return api.server:take() end)
      if not op then return end
      api.tasks[#api.tasks + 1] = loop.daemon("test call", serve, api, op)
    end
  end)
end

--- Starts a server.
-- @tparam ?table options `tls`: { cert =, key =, client_ca = }, `port`
function M.start(options)
  local api = setmetatable({ handlers = {}, calls = {}, open = {}, tasks = {}, news = loop.signal() }, Api)
  listen(api, options or {})
  return api
end

--- Stops listening and ends every call; `start_again` takes the same port.
function Api:stop()
  self.acceptor:cancel()
  for _, task in ipairs(self.tasks) do task:cancel() end
  for op in pairs(self.open) do op:close() end
  self.open, self.tasks = {}, {}
  self.server:close()
end

--- Listens on the same port again.
function Api:start_again()
  listen(self, { port = self.port })
end

Api.close = Api.stop
Api.__close = Api.stop

return M
