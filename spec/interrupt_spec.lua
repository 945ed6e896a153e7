-- Ctrl-C. Each test runs a script in a process of its own, interrupts it once it says that it is ready, and looks at
-- what it says then.
local process = require "spec.support.process"

-- The script can say(…) a line; `report(f, …)` calls f, which is interrupted, and says what came of it.
local prelude = [[
  local core, loop, waiters = require "wgtwo.core", require "wgtwo.loop", require "wgtwo.waiters"
  local function say(...) print(...) io.flush() end
  local function report(f, ...)
    local ok, err = pcall(f, ...)
    collectgarbage()
    local left = waiters.none() and "nothing registered" or "something registered"
    say(ok, tostring(err):match("interrupted!") or err, left)
  end
]]

-- Runs a script that waits for longer than it may run, and interrupts it: its next line, the rest of its output, its
-- exit status.
local function interrupted(script)
  local child = process.start(prelude .. script, { timeout = 30 })
  assert.equal("ready", child:line())
  child:kill("INT")
  local line = child:line()
  return line, child:wait()
end

local function ends_it(script, expected)
  local line, rest, code = interrupted(script)
  assert.equal(expected or "false\tinterrupted!\tnothing registered", line)
  assert.equal(0, code, rest)
  return rest
end

describe("Ctrl-C", function()
  it("ends a wait of the main chunk", function()
    for _, wait in ipairs{ "wait(loop.signal())", "sleep(1000)", "wait_any{ loop.signal(), loop.signal() }" } do
      ends_it(([[
        report(function()
          say "ready"
          loop.%s
        end)
      ]]):format(wait))
    end
  end)

  it("ends a wait of a coroutine of the script's own", function()
    ends_it [[
      report(coroutine.wrap(function()
        say "ready"
        loop.wait(loop.signal())
      end))
    ]]
  end)

  it("ends run, and closes what its tasks hold", function()
    ends_it([[
      local closed = 0
      local function hold()
        return setmetatable({}, { __close = function() closed = closed + 1 end })
      end
      local ok, err = pcall(loop.run, function()
        for i = 1, 50 do
          loop.spawn(function()
            local held <close> = hold()
            if i % 2 == 0 then loop.wait(loop.signal()) else loop.sleep(1000) end
          end)
        end
        local held <close> = hold()
        loop.sleep(0)
        say "ready"
        loop.wait(loop.signal())
      end)
      say(ok, err, closed, waiters.none())
    ]], "false\tinterrupted!\t51\ttrue")
  end)

  it("ends run while a task waits in a coroutine of its own", function()
    ends_it [[
      report(loop.run, function()
        loop.spawn(loop.sleep, 1000)
        coroutine.wrap(function()
          say "ready"
          loop.sleep(1000)
        end)()
      end)
    ]]
  end)

  it("ends run while a task computes and gives way", function()
    ends_it [[
      report(loop.run, function()
        say "ready"
        while true do loop.pass() end
      end)
    ]]
  end)

  it("ends calls and streams of the client, wherever they wait", function()
    local peer = [[
      local wgtwo = require "wgtwo"
      local server = core.server()
      local port = assert(server:listen("127.0.0.1:0"))
      server:start() -- accepts, and never answers
      local client = assert(wgtwo.connect{ target = "127.0.0.1:" .. port, plaintext = true, auth = false })
      local function call() return client:call("wgtwo.events.v0.EventsService/Ack", {}, { timeout = 1000 }) end
      local function read() return client:stream("wgtwo.events.v0.EventsService/Subscribe", {}):read() end
      local function own(f) return function() return coroutine.wrap(f)() end end
      local function tasks(f)
        return function()
          loop.run(function()
            for _ = 1, 10 do loop.spawn(f) end
          end)
        end
      end
      -- ready once the server has the call
      local accepted
      loop.daemon("watcher", function()
        repeat
          loop.wait(server)
          accepted = server:take()
        until accepted
        say "ready"
      end)
    ]]
    for _, wait in ipairs{ "call", "read", "own(call)", "own(read)", "tasks(call)", "tasks(read)" } do
      ends_it(peer .. ("report(%s)"):format(wait))
    end
  end)

  it("is an ordinary error: waiting works afterwards", function()
    local rest = ends_it [[
      report(function()
        say "ready"
        loop.sleep(1000)
      end)
      print(loop.run(function()
        local task = loop.spawn(function()
          loop.sleep(0.01)
          return "again"
        end)
        return task:join()
      end))
    ]]
    assert.equal("again\n", rest)
  end)

  it("ends a program that does not expect it, with the usual message", function()
    local line, _, code = interrupted [[ say "ready" loop.sleep(1000) ]]
    assert.matches("interrupted!$", line)
    assert.equal(1, code)
  end)

  it("ends a write to a process that reads no more", function()
    ends_it [[
      report(function()
        local reader = "head -c 500000 >/dev/null; echo ready >&2; exec sleep 20" -- the write is under way by then
        local child <close> = core.spawn{ argv = { "sh", "-c", reader }, grace = 0.05 }
        child:write(("x"):rep(10000000))
      end)
    ]]
  end)

  it("leaves background tasks alone", function()
    local rest = ends_it([[
      local ticks = 0
      local daemon = loop.daemon("ticker", function()
        while true do
          loop.sleep(0.001)
          ticks = ticks + 1
        end
      end)
      pcall(function()
        say "ready"
        loop.sleep(1000)
      end)
      say "interrupted"
      local before = ticks
      repeat loop.sleep(0.001) until ticks > before
      daemon:cancel()
      print(waiters.none())
    ]], "interrupted")
    assert.equal("true\n", rest)
  end)

  -- The kernel gives a signal to any thread that does not block it: one that gRPC's got would not end the wait.
  it("comes to the Lua thread and no other, whatever was started", function()
    local child = process.start([[
      local core = require "wgtwo.core"
      local httpd = require "wgtwo.httpd"
      local server = core.server()
      local port = assert(server:listen("127.0.0.1:0"))
      server:start()
      local channel = core.channel{ target = "127.0.0.1:" .. port, plaintext = true }
      channel:state(true)
      local daemon = assert(httpd.listen{})
      local url = ("http://127.0.0.1:%d/"):format(daemon:port())
      local held = { server, channel, daemon, assert(core.http{ url = url }),
        assert(core.forwarder{ target = "127.0.0.1:" .. port }),
        assert(core.probe{ host = "127.0.0.1", port = port, plaintext = true }) }
      for _ = 1, 20 do core.poll(0.01, {}) end
      local own = io.open("/proc/thread-self/status"):read("a"):match("Pid:%s*(%d+)")
      local others = 0
      for id in require("lfs").dir("/proc/self/task") do
        local file = id ~= own and id:match("%d") and io.open("/proc/self/task/" .. id .. "/status")
        if file then
          local status = file:read("a")
          others = others + 1
          if tonumber(status:match("SigBlk:%s*(%x+)"), 16) & 2 == 0 then print(status:match("Name:%s*(%S+)")) end
        end
      end
      print(others > 4, #held)
    ]], { timeout = 30 })
    local said, code = child:wait()
    assert.equal("true\t6\n", said)
    assert.equal(0, code)
  end)
end)
