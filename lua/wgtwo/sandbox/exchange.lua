--- One call as the sandbox handles it: from its arrival to its status, through authorization, faults and the journal.
--
-- A route serves a method in one of three ways:
--
--   * `unary(sandbox, exchange, request)` returns the reply (a table, a message or bytes), or nil and a status;
--   * `stream(sandbox, exchange, request)` for one request and many replies, `bidi(sandbox, exchange)` for many of
--     both: they send when they like, and return nil and a status where the call fails at once.
--
-- Whatever a handler keeps (timers, members) it gives back in `on_close`, which is called once, however the call ends.
-- The handler of a unary call does not keep the exchange: it may be another call's afterwards.
--
-- @module wgtwo.sandbox.exchange

local age = require "wgtwo.sandbox.age"
local core = require "wgtwo.core"
local framing = require "wgtwo.sandbox.framing"
local reactor = require "wgtwo.sandbox.reactor"
local requests = require "wgtwo.sandbox.requests"
local status = require "wgtwo.sandbox.status"

local Exchange = {}
Exchange.__index = Exchange

local exchange = {}

local OK <const> = status.new("OK", "")

-- For handlers -------------------------------------------------------------------------------------------------------

--- Calls a function when the call is over.
function Exchange:on_close(f) self.closing = f end

--- Calls a function when `send` has room again after it said false.
function Exchange:on_room(f) self.room = f end

--- Calls functions for each request of a stream, and when the client has sent its last.
function Exchange:on_message(message, at_end) self.message, self.at_end = message, at_end end

--- Checks that the token has a scope. Without a token there is none to check.
-- @tparam ?string scope
-- @tparam ?string what for the message: "for SMS_EVENT"
-- @treturn ?table a status
function Exchange:require_scope(scope, what)
  if not scope or not self.scopes or self.scopes[scope] then return nil end
  return status.missing_scope(scope, self.method.name, what)
end

--- Sends the initial metadata now, so that the client sees its stream established.
function Exchange:send_headers()
  self.call:headers()
end

--- Sends one reply of a stream.
-- @tparam string|int ... its parts, as `framing.join` takes them
-- @treturn boolean whether there was room
function Exchange:send(...)
  if self.faulty then return self.faulty:send(self, framing.join(...)) end
  return self:transmit(...)
end

--- The same, past all faults.
function Exchange:transmit(...)
  if not self.call:write(...) then return false end -- no room; or it is over, and on_close is on its way
  self.entry:sent(...)
  return true
end

--- Ends the call.
-- @tparam ?table reason a status; nil: OK
function Exchange:finish(reason)
  if self.finished then return end
  self.finished = true
  reason = reason or OK
  self.entry:ended(reason)
  reason:finish(self.call)
  self:release()
end

local function keep(self)
  self.kept = true
  self.calls:keep(self)
end

-- The course of a call ------------------------------------------------------------------------------------------------

--- Lets go of everything, once.
function Exchange:release()
  if self.released then return end
  self.released = true
  local calls = self.calls
  if self.kept then calls:forget(self) end
  if self.timers then
    for timer in pairs(self.timers) do calls.sandbox.clock:cancel(timer) end
    self.timers = nil
  end
  local closing = self.closing
  self.closing = nil
  if closing then closing() end
  self.call:close()
end

--- Does something later, unless the call is over by then.
function Exchange:after(seconds, f)
  local timers = self.timers or {}
  self.timers = timers
  timers[self.calls.sandbox.clock:after(seconds, function(timer)
    timers[timer] = nil
    f()
  end)] = true
end

local function failed(err)
  return { message = debug.traceback(tostring(err), 2) }
end

--- Calls a handler; its defects become INTERNAL.
local function guarded(self, f, ...)
  local ok, reply, reason = xpcall(f, failed, self.calls.sandbox, self, ...)
  if ok then return reply, reason end
  if reactor.is_interrupt(reply.message) then error(reply.message, 0) end
  io.stderr:write("wgtwo sandbox: ", self.method.name, ": ", reply.message, "\n")
  return nil, status.new("INTERNAL", "the sandbox has a defect: " .. (reply.message:match("^[^\n]*") or ""))
end

--- The bytes of a reply, as a handler: a table that is no reply of the method is a defect, too.
local function encoded(_, self, reply)
  return core.encode(self.method.output, reply)
end

local function answer(self, reply, reason)
  if reply == nil then return self:finish(reason or status.new("INTERNAL", "the handler gave no answer")) end
  local fault = self.faulty
  if fault then
    if fault.applied then return self:finish(fault:status()) end
  end
  local bytes, defect = reply, nil
  if type(reply) ~= "string" then bytes, defect = guarded(self, encoded, reply) end
  if not bytes then return self:finish(defect) end
  if fault then bytes = fault:spoil(bytes) end
  self.finished = true
  self.entry:sent(bytes)
  self.entry:ended(OK)
  self.call:reply(bytes)
  self:release()
end

--- The one request of a unary call or a server stream is here.
local function handle(self, request)
  local route = self.route
  local wrong = requests.check(self.method, request) or route.check and route.check(request, self)
  if wrong then return self:finish(wrong) end
  local refused = self.faulty and route.ack and self.faulty.ack_status
  if refused then
    answer(self, { ack_status = { status_code = refused } })
  elseif route.unary then
    answer(self, guarded(self, route.unary, request))
  else
    local _, reason = guarded(self, route.stream, request)
    if reason then self:finish(reason) end
  end
end

--- What a fault does before the handler is asked. True: go on.
local function pass_fault(self, fault, go_on)
  if fault.hang then return false end
  local delay = fault:take_delay()
  if delay then
    self:after(delay, go_on)
    return false
  end
  if fault.reset and fault.after == 0 then
    self.entry:ended(status.new("UNAVAILABLE", "reset"))
    self.finished = true
    self.call:reset()
    self:release()
    return false
  end
  if fault.code and not fault.applied and fault.after == 0 then
    self:finish(fault:status())
    return false
  end
  return true
end

--- Nothing more comes from the client.
local function ended(self)
  if self.request_taken or self.method.client_streaming then
    if self.at_end then
      local f = self.at_end
      self.at_end = nil
      guarded(self, f)
    end
  elseif not self.call:over() then
    self:finish(status.new("INTERNAL", "a request is needed"))
  end
end

--- Takes what the client has sent.
local function take(self)
  local call, kind = self.call, self.method.input
  while not self.finished and (self.message or not self.request_taken) do
    local message, problem = call:take(kind)
    if message == false then return end
    if message == nil then
      if problem then return self:finish(status.new("INTERNAL", "the request cannot be decoded: " .. problem)) end
      return ended(self)
    end
    self.entry:received(message)
    if self.message then
      local reason, _ = requests.check(self.method, message)
      if not reason then _, reason = guarded(self, self.message, message) end
      if reason then self:finish(reason) end
    else
      self.request_taken = true
      handle(self, message)
    end
  end
end

local function start(self)
  if self.finished then return end
  local fault = self.faulty
  if fault and not pass_fault(self, fault, function() start(self) end) then return end
  self.started = true
  if self.method.kind ~= "unary" then age.opened(self.calls.sandbox, self) end
  if self.route.bidi then
    local _, reason = guarded(self, self.route.bidi)
    if reason then return self:finish(reason) end
  end
  take(self)
end

--- The core has news of the call.
function Exchange:news()
  if self.call:over() then
    if not self.finished then
      self.finished = true
      self.entry:ended(status.new("CANCELLED", "the client ended the call, or its connection or deadline did"))
    end
    return self:release()
  end
  if self.started then take(self) end
  if self.room and not self.finished then self.room() end
end

--- One that has yet to begin.
-- @tparam table calls
-- @treturn table
function exchange.new(calls)
  return setmetatable({ calls = calls, call = false, route = false, method = false, entry = false, client = nil,
    scopes = nil, user = nil, faulty = nil, started = false, finished = false, released = false,
    request_taken = false }, Exchange)
end

--- A call has arrived: handles it. Most unary calls are over after that; another is followed until it is.
-- @tparam userdata call of the core
-- @tparam table route
-- @tparam table entry of the journal
-- @tparam table principal `client`, `scopes`, `user`
-- @tparam ?table faulty the fault that strikes this call
function Exchange:begin(call, route, entry, principal, faulty)
  self.call, self.route, self.method, self.entry, self.faulty = call, route, route.method, entry, faulty
  self.client, self.scopes, self.user = principal.client, principal.scopes, principal.user
  self.started, self.finished, self.released, self.request_taken = false, false, false, false
  local is_stream = route.unary == nil
  if is_stream then keep(self) end
  start(self)
  if not is_stream and not self.released then keep(self) end
end

--- Whether it was over at once. Nothing but its handler has seen it then: it can begin again, with another call.
-- @treturn boolean
function Exchange:is_spare()
  return self.released and not self.kept and not self.faulty
end

--- Whether its handler has it: the request is here, where one is to come, and no fault holds it.
-- @treturn boolean
function Exchange:is_handled()
  return self.started and (self.route.bidi ~= nil or self.request_taken)
end

return exchange
