-- wgtwo.loop under another event loop: cqueues and luv, as Debian packages them.
local core = require "wgtwo.core"
local loop = require "wgtwo.loop"
local waiters = require "wgtwo.waiters"

-- What a program under another loop does: tasks that wait, a signal between them, and an end. The first task sleeps on
-- until `awaited()`, where there is one.
local function workload(log, awaited)
  local changed = loop.signal()
  local first = loop.spawn(function()
    repeat loop.sleep(0.005) until not awaited or awaited()
    log[#log + 1] = "slept"
    changed:notify()
    return "first"
  end)
  return loop.spawn(function()
    changed:wait()
    log[#log + 1] = "woken"
    log[#log + 1] = first:join()
    loop.sleep(0.01)
    log[#log + 1] = "done"
  end)
end

local finished = { "slept", "woken", "first", "done" }

describe("wgtwo.loop for another event loop", function()
  after_each(function() assert.is_true(waiters.none()) end)

  it("says what to watch, by either way of calling", function()
    assert.equal(core.pollfd(), loop.pollfd())
    assert.equal(core.pollfd(), loop:pollfd())
    assert.equal("r", loop.events())
    assert.equal("r", loop:events())
    loop.step()
    loop:step()
    assert.is_nil(loop.timeout())
    assert.is_nil(loop:timeout())
  end)

  it("says how long to watch", function()
    local task = loop.spawn(loop.sleep, 1000)
    assert.equal(0, loop.timeout())
    loop.step()
    local left = loop.timeout()
    assert.is_true(left > 900 and left <= 1000, left)
    task:cancel()
    assert.is_nil(loop.timeout())
  end)

  it("never blocks in step", function()
    local task = loop.spawn(loop.sleep, 1000)
    for _ = 1, 10 do loop.step() end
    task:cancel()
  end)

  it("raises the error of a task that nobody can join from step", function()
    loop.spawn(error, "boom")
    local ok, message = pcall(function()
      for _ = 1, 3 do loop.step() end
    end)
    assert.is_false(ok)
    assert.matches("boom", message)
  end)

  it("is driven by cqueues", function()
    local cqueues = require "cqueues"
    local cq, log, ticks = cqueues.new(), {}, 0
    local task = workload(log, function() return ticks > 3 end)
    cq:wrap(function()
      while #log < 4 do
        cqueues.poll(loop)
        loop.step()
      end
    end)
    cq:wrap(function()
      while #log < 4 do
        cqueues.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    assert(cq:loop(10))
    assert.same(finished, log)
    task:join()
  end)

  it("lets cqueues sleep while nothing happens", function()
    local cqueues = require "cqueues"
    local cq, steps, ended = cqueues.new(), 0, false
    loop.spawn(function()
      loop.sleep(0.1)
      ended = true
    end)
    cq:wrap(function()
      while not ended do
        cqueues.poll(loop)
        loop.step()
        steps = steps + 1
      end
    end)
    assert(cq:loop(10))
    assert.is_true(steps < 20, steps)
  end)

  it("wakes cqueues when one of its coroutines starts a task", function()
    local cqueues = require "cqueues"
    local cq, log = cqueues.new(), {}
    cq:wrap(function()
      while not log[1] do
        cqueues.poll(loop)
        loop.step()
      end
    end)
    cq:wrap(function()
      cqueues.sleep(0.01) -- the other one watches now, with no deadline
      loop.spawn(function() log[1] = "ran" end)
    end)
    assert(cq:loop(10))
    assert.same({ "ran" }, log)
  end)

  it("wakes cqueues after a blocking wait, which may have left tasks that can go on", function()
    local cqueues = require "cqueues"
    local cq, log = cqueues.new(), {}
    cq:wrap(function()
      while not log[1] do
        cqueues.poll(loop)
        loop.step()
      end
    end)
    cq:wrap(function()
      cqueues.sleep(0.01)
      loop.spawn(function()
        loop.sleep(0.02)
        log[1] = "ran"
      end)
      loop.sleep(0.001) -- the task starts here, with a deadline that the other coroutine does not know of
    end)
    assert(cq:loop(10))
    assert.same({ "ran" }, log)
  end)

  it("lets a coroutine of cqueues call what blocks", function()
    local cqueues = require "cqueues"
    local cq, log = cqueues.new(), {}
    cq:wrap(function()
      local task = workload(log)
      task:join()
    end)
    assert(cq:loop(10))
    assert.same(finished, log)
  end)

  it("is driven by luv", function()
    local uv = require "luv"
    local log = {}
    local task = workload(log)
    local poll, timer = assert(uv.new_poll(loop.pollfd())), assert(uv.new_timer())
    local function step()
      loop.step()
      timer:stop()
      if #log == 4 then
        poll:close()
        timer:close()
        return
      end
      local timeout = loop.timeout()
      if timeout then timer:start(math.ceil(timeout * 1000), 0, step) end
    end
    poll:start("r", step)
    timer:start(0, 0, step)
    uv.run()
    assert.same(finished, log)
    task:join()
  end)
end)
