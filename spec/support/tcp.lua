-- Plain TCP peers for tests of the wire, on luv's loop: a server that keeps what it gets, and clients.
-- Nothing sleeps: `until_` runs the loop until something has happened, with a limit that only a failing test reaches.

local patience = require("spec.support.patience")
local uv = require("luv")

local tcp = {}

--- Runs the loop until `condition()` is true.
-- @tparam function condition
-- @tparam[opt="it"] string what for the error
function tcp.until_(condition, what)
  local late = false
  local limit, tick = uv.new_timer(), uv.new_timer()
  limit:start(patience.limit * 1000, 0, function() late = true end)
  tick:start(1, 1, function() end) -- conditions that no event of this loop announces
  while not late and not condition() do uv.run("once") end
  limit:close()
  tick:close()
  uv.run("nowait")
  if late then error(("%s did not happen within %d s"):format(what or "it", patience.limit), 2) end
end

local Peer = {}
Peer.__index = Peer

local function new_peer(socket)
  local peer = setmetatable({ socket = socket, parts = {}, length = 0 }, Peer)
  peer:resume()
  return peer
end

--- What has arrived so far; `ended` is true after a FIN, `failure` is "ECONNRESET" after a RST.
function Peer:text()
  self.parts = { table.concat(self.parts) }
  return self.parts[1]
end

function Peer:count()
  return self.length
end

--- Reads on; it does from the beginning.
function Peer:resume()
  self.socket:read_start(function(failure, chunk)
    if failure then
      self.failure = failure:match("^[A-Z]+") or failure
    elseif chunk then
      self.parts[#self.parts + 1] = chunk
      self.length = self.length + #chunk
    else
      self.ended = true
    end
  end)
end

--- Stops to read.
function Peer:pause()
  self.socket:read_stop()
end

--- Sends; `peer.unsent` is true until the kernel has taken it all.
function Peer:send(text)
  self.unsent = (self.unsent or 0) + 1
  self.socket:write(text, function() self.unsent = self.unsent - 1 end)
end

--- Half-closes.
function Peer:finish()
  self.socket:shutdown()
end

function Peer:close()
  if not self.socket:is_closing() then self.socket:close() end
  uv.run("nowait")
end

--- Ends the connection with a RST.
function Peer:reset()
  if not self.socket:is_closing() then self.socket:close_reset() end
  uv.run("nowait")
end

function Peer:await(count)
  tcp.until_(function() return self:count() >= count end, ("the arrival of %d bytes"):format(count))
  return self:text()
end

function Peer:await_end()
  tcp.until_(function() return self.ended or self.failure end, "the end of the connection")
end

local Server = {}
Server.__index = Server

--- A server on 127.0.0.1; `server.peers` are its connections in the order of their coming.
-- @tparam[opt=0] int port
function tcp.listen(port)
  local server = setmetatable({ peers = {} }, Server)
  server.socket = uv.new_tcp()
  assert(server.socket:bind("127.0.0.1", port or 0))
  assert(server.socket:listen(128, function()
    local socket = uv.new_tcp()
    server.socket:accept(socket)
    server.peers[#server.peers + 1] = new_peer(socket)
  end))
  server.port = server.socket:getsockname().port
  server.target = "127.0.0.1:" .. server.port
  return server
end

--- The nth connection, waiting for it.
function Server:peer(n)
  tcp.until_(function() return self.peers[n] end, "a connection")
  return self.peers[n]
end

function Server:close()
  for _, peer in ipairs(self.peers) do peer:close() end
  if not self.socket:is_closing() then self.socket:close() end
  uv.run("nowait")
end

--- Connects to a port of this machine.
-- @treturn Peer or nil and the error's name: "ECONNREFUSED"
function tcp.connect(port)
  local socket, done, failure = uv.new_tcp(), false, nil
  socket:connect("127.0.0.1", port, function(err) done, failure = true, err end)
  tcp.until_(function() return done end, "the connect")
  if not failure then return new_peer(socket) end
  socket:close()
  uv.run("nowait")
  return nil, failure:match("^[A-Z]+") or failure
end

return tcp
