-- Threads: which of them take signals, and Lua states that each have one.

local core = require("wgtwo.core")
local live = require("spec.support.live")
local pair = require("spec.support.pair")
local process = require("spec.support.process")
local uv = require("luv")

-- Runs a Lua text in `count` threads at once, each with a state of its own, which closes when the text has ended; what
-- each returns comes back, "failed: …" for an error.
local function in_threads(count, text, ...)
  local results, threads = {}, {}
  local path = os.tmpname()
  for i = 1, count do
    threads[i] = uv.new_thread(function(chunk, file, ...)
      local ok, result = xpcall(assert(load(chunk)), debug.traceback, ...)
      local out = assert(io.open(file, "w"))
      out:write(ok and tostring(result) or "failed: " .. tostring(result))
      out:close()
    end, text, path .. i, i, ...)
  end
  for i = 1, count do
    threads[i]:join()
    local file <close> = assert(io.open(path .. i))
    results[i] = file:read("a")
    os.remove(path .. i)
  end
  os.remove(path)
  return results
end

-- The scheduling policies, "NAME POLICY", of Lua's thread and of those behind it, in a process that uses gRPC, and says
-- that it wants another policy where one is given (as chrt's option).
local function policies(wanted)
  local result = process.lua([[
    local function policy(id)
      local file <close> = assert(io.open("/proc/self/task/" .. id .. "/stat"))
      local fields = {}
      for field in file:read("a"):match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = field end
      return fields[41 - 2]
    end
    local own = io.open("/proc/self/stat"):read("a"):match("^%d+")
    if arg[1] then assert(os.execute("chrt " .. arg[1] .. " -p 0 " .. own)) end
    local before = {}
    for id in require("lfs").dir("/proc/self/task") do before[id] = true end
    local core = require("wgtwo.core")
    local server = core.server()
    server:listen("127.0.0.1:0")
    server:start()
    print("lua", policy(own))
    for id in require("lfs").dir("/proc/self/task") do
      if not before[id] then print("behind", policy(id)) end
    end
  ]], { args = { wanted } })
  assert.is_true(result.ok, result.errors)
  local seen = {}
  for who, policy in result.output:gmatch("(%a+)\t(%d+)") do
    assert.is_true(seen[who] == nil or seen[who] == policy, result.output)
    seen[who] = policy
  end
  return seen
end

local SCHED_OTHER, SCHED_BATCH, SCHED_IDLE = "0", "3", "5"

describe("threads", function()
  it("behind Lua's are not put in its place while it works", function()
    assert.same({ lua = SCHED_OTHER, behind = SCHED_BATCH }, policies())
  end)

  it("have the scheduling policy that somebody has chosen for the process", function()
    assert.same({ lua = SCHED_IDLE, behind = SCHED_IDLE }, policies("--idle"))
  end)

  it("other than Lua's leave all signals to it", function()
    local before = {}
    for id in require("lfs").dir("/proc/self/task") do before[id] = true end
    local server, target = pair.server()
    local forwarder = assert(core.forwarder({ target = target }))
    local channel = pair.channel("127.0.0.1:" .. forwarder:port())
    local request = core.http({ method = "GET", url = "http://127.0.0.1:" .. forwarder:port() .. "/", timeout = 1 })
    for _ = 1, 20 do
      local call <close> = pair.call(channel, "unary", { timeout = 20 })
      local accepted <close> = pair.take(server)
      accepted:write(pair.message("x"))
      accepted:finish()
      assert.equal("x", pair.text(pair.take(call)))
    end
    local own, seen = 0, 0
    for id in require("lfs").dir("/proc/self/task") do
      local file = not before[id] and io.open("/proc/self/task/" .. id .. "/status")
      if file then
        local status = file:read("a")
        file:close()
        local blocked = tonumber(status:match("SigBlk:%s*(%x+)"), 16)
        for _, signal in ipairs({ 1, 2, 3, 10, 12, 14, 15, 17, 28 }) do
          assert.is_true(blocked & (1 << (signal - 1)) ~= 0,
            ("%s takes signal %d"):format(status:match("Name:%s*(%S+)"), signal))
        end
        seen = seen + 1
      end
      own = own + 1
    end
    assert.is_true(seen >= 3, own .. " threads") -- gRPC's, the I/O thread, the forwarder's
    for _, op in ipairs({ request, channel, forwarder, server }) do op:close() end
  end)

  it("may each have a Lua state that uses the core", function()
    local results = in_threads(4, [[
      local core = require("wgtwo.core")
      local pair = require("spec.support.pair")
      local server, target = pair.server()
      local channel = pair.channel(target)
      local count = 0
      for i = 1, 100 do
        local call <close> = pair.call(channel, i % 2 == 0 and "unary" or "server")
        local accepted <close> = pair.take(server)
        accepted:write(pair.message("reply " .. i))
        accepted:finish()
        assert(pair.text(pair.take(call)) == "reply " .. i)
        count = count + 1
      end
      channel:close()
      server:close()
      return count
    ]])
    assert.same({ "100", "100", "100", "100" }, results)
    assert.equal(0, (live.settle()))
  end)

  it("whose states close with everything under way leave nothing", function()
    local server, target = pair.server()
    for _ = 1, 5 do
      local results = in_threads(4, [[
        local number, target = ...
        local core = require("wgtwo.core")
        local pair = require("spec.support.pair")
        keep = {}
        local function hold(op) keep[#keep + 1] = op return op end
        local forwarder = hold(assert(core.forwarder({ target = target })))
        local channel = hold(pair.channel(number % 2 == 0 and target or "127.0.0.1:" .. forwarder:port()))
        for _, kind in ipairs({ "unary", "server", "client", "bidi" }) do
          local call = hold(pair.call(channel, kind, { wait_for_ready = true, track = true }))
          if kind == "client" or kind == "bidi" then call:write(pair.message(("x"):rep(100000))) end
        end
        local acker = hold(core.acker(channel, { path = "/x/Ack", reply = pair.TEXT, expected = "", timeout = 5,
          limit = 20 }))
        for i = 1, 20 do acker:send("x", i, 0, i % 2 == 0) end
        local own = hold(pair.server())
        hold(core.http({ method = "GET", url = "http://127.0.0.1:" .. forwarder:port() .. "/", timeout = 5 }))
        hold(core.spawn({ argv = { "cat" } }))
        hold(assert(require("wgtwo.httpd").listen({ address = "127.0.0.1", port = 0 })))
        for _ = 1, number do core.poll(0.005, {}) end
        return "under way"
      ]], target)
      assert.same({ "under way", "under way", "under way", "under way" }, results)
      for accepted in function() return server:take() or nil end do accepted:close() end
    end
    server:close()
    local count, kinds = live.settle()
    assert.equal(0, count, live.describe(count, kinds))
  end)
end)
