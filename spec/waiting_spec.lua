-- Calls of the client where the script waits in its different ways: tasks, the main chunk, coroutines, other loops.
local core = require "wgtwo.core"
local loop = require "wgtwo.loop"
local pair = require "spec.support.pair"
local patience = require "spec.support.patience"
local waiters = require "wgtwo.waiters"
local wgtwo = require "wgtwo"

local ACK = "wgtwo.events.v0.EventsService/Ack"

-- A server in this process that answers each call with an empty message after a pause; a client of it.
local Answerer = {}
Answerer.__index = Answerer

local function answer(accepted, pause)
  local call <close> = accepted
  local request = call:take()
  while request == false do
    loop.wait(call)
    request = call:take()
  end
  pause()
  call:reply("")
  while not call:over() do loop.wait(call) end
end

-- `pause`: seconds, or a function that waits.
local function start(pause)
  local wait = type(pause) == "function" and pause or function() loop.sleep(pause) end
  local self = setmetatable({ server = core.server(), served = 0, tasks = {} }, Answerer)
  local port = assert(self.server:listen("127.0.0.1:0"))
  self.server:start()
  self.tasks[1] = loop.daemon("answerer", function()
    while true do
      local call = self.server:take()
      if call then
        self.served = self.served + 1
        self.tasks[#self.tasks + 1] = loop.daemon("answer", answer, call, wait)
      else
        loop.wait(self.server)
      end
    end
  end)
  self.client = assert(wgtwo.connect{ target = "127.0.0.1:" .. port, plaintext = true, auth = false })
  return self
end

function Answerer:close()
  self.client:close()
  for _, task in ipairs(self.tasks) do task:cancel() end
  self.server:close()
end

Answerer.__close = Answerer.close

-- Calls of clients that are not freed, once the I/O thread is through with those that were cancelled.
local function open_calls()
  local deadline = core.now() + 5
  local count
  repeat
    loop.sleep(0.001)
    count = select(2, core.live())["wgtwo.call"] or 0
  until count == 0 or core.now() > deadline
  return count
end

local function acknowledge(client, sequence)
  return assert(client:call(ACK, { inbox = "i", sequence = sequence }))
end

describe("waiting for calls", function()
  after_each(function() assert.is_true(waiters.none()) end)

  it("overlaps 200 tasks, each in the order of its own program", function()
    local peer <close> = start(0.5) -- one after the other: 100 s
    local began, steps = core.now(), {}
    loop.run(function()
      for i = 1, 200 do
        loop.spawn(function()
          steps[i] = "started"
          acknowledge(peer.client, i)
          steps[i] = steps[i] .. ", answered"
        end)
      end
    end)
    local seconds = core.now() - began
    for i = 1, 200 do assert.equal("started, answered", steps[i]) end
    assert.equal(200, peer.served)
    assert.is_true(seconds >= 0.5 and seconds < patience.soon, seconds)
  end)

  it("blocks the main chunk while tasks go on", function()
    local ticks = 0
    local peer <close> = start(function() repeat loop.sleep(0.001) until ticks > 5 end)
    local ticker = loop.spawn(function()
      while true do
        loop.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    acknowledge(peer.client, 1)
    ticker:cancel()
  end)

  it("works in a coroutine of the script's own, inside and outside of tasks", function()
    local peer <close> = start(0.01)
    local function generator()
      return coroutine.wrap(function()
        for i = 1, 2 do
          acknowledge(peer.client, i)
          coroutine.yield(i)
        end
      end)
    end
    local outside = generator()
    assert.same({ 1, 2 }, { outside(), outside() })
    loop.run(function()
      for _ = 1, 3 do
        loop.spawn(function()
          local inside = generator()
          assert.same({ 1, 2 }, { inside(), inside() })
        end)
      end
    end)
    assert.equal(8, peer.served)
  end)

  it("goes on under cqueues", function()
    local cqueues = require "cqueues"
    local cq, answered, ticks = cqueues.new(), 0, 0
    local peer <close> = start(function() repeat loop.sleep(0.001) until ticks > 3 end)
    for i = 1, 20 do
      loop.spawn(function()
        acknowledge(peer.client, i)
        answered = answered + 1
      end)
    end
    cq:wrap(function()
      while answered < 20 do
        cqueues.poll(loop)
        loop.step()
      end
    end)
    cq:wrap(function()
      while answered < 20 do
        cqueues.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    assert(cq:loop(10))
    assert.equal(20, answered)
  end)

  it("does not miss news that a finalizer has waited through, between the question and the wait", function()
    local function wait_any(op, deadline) return loop.wait_any({ loop.signal(), op }, deadline) end
    for _, run in ipairs{ function(f) f() end, wgtwo.run } do
      for _, wait in ipairs{ loop.wait, wait_any } do
        local server, target = pair.server()
        local channel = pair.channel(target)
        local call = pair.call(channel, "unary")
        local accepted = pair.take(server)
        run(function()
          assert.is_false(call:take())
          setmetatable({}, { __gc = function()
            accepted:reply(pair.message("x"))
            repeat loop.sleep(0.001) until call:status()
          end })
          collectgarbage() -- as any allocation may
          assert.is_truthy(call:status())
          assert.is_truthy(wait(call, core.now() + 5))
          assert.is_false(wait(call, core.now() + 0.01)) -- it is told once
          assert.equal("x", pair.text(call:take()))
        end)
        for _, op in ipairs{ call, accepted, channel, server } do op:close() end
      end
    end
  end)

  it("leaves nothing outstanding when a task that waits is cancelled", function()
    local peer <close> = start(60)
    local task = loop.spawn(acknowledge, peer.client, 1)
    local deadline = loop.deadline(10)
    while peer.served == 0 and core.now() < deadline do loop.sleep(0.001) end
    assert.equal(1, peer.served)
    task:cancel()
    assert.equal(0, open_calls())
  end)

  it("leaves nothing outstanding when run ends by an error", function()
    local peer <close> = start(60)
    local ok, message = pcall(loop.run, function()
      for i = 1, 20 do loop.spawn(acknowledge, peer.client, i) end
      while peer.served < 20 do loop.sleep(0.001) end
      error("enough")
    end)
    assert.is_false(ok)
    assert.matches("enough", message)
    assert.equal(0, open_calls())
  end)
end)
