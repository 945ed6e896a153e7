-- A subscription on a wire with faults.

local core = require("wgtwo.core")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

describe("a subscription on a bad wire", function()
  local sandbox, forwarder, client, log

  local function connect(options)
    local all = { target = "localhost:" .. forwarder:port(), tls = { ca_file = sandbox.ca_file }, auth = false,
      logger = function(level, message) log[#log + 1] = level .. ": " .. message end }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
  end

  before_each(function()
    log = {}
    sandbox = assert(wgtwo.sandbox.start{})
    local port = math.tointeger(tonumber(sandbox.target:match(":(%d+)$")))
    forwarder = assert(core.forwarder{ target = "127.0.0.1:" .. port })
  end)

  after_each(function()
    client:close()
    forwarder:close()
    sandbox:close()
  end)

  local function publish(n)
    for i = 1, n or 1 do
      sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = tostring(i) } }
    end
  end

  local function subscribe(options)
    local all = { types = { "SMS_EVENT" }, queue = "q", start = "oldest", reconnect = { initial = 0.01, max = 0.1 } }
    for key, value in pairs(options or {}) do all[key] = value end
    return (client:events(all))
  end

  it("that swallows every byte is noticed by keep-alive, and goes on", function()
    connect{ keepalive = { time = 0.5, timeout = 0.5 } }
    local sub <close> = subscribe()
    publish()
    assert(assert(sub:next(10)):ack{ wait = true })
    forwarder:set{ drop = true }
    publish()
    local started = core.now()
    assert.equal("timeout", select(2, sub:next(0.3)).kind)
    repeat
      local event = sub:next(0.1) -- nothing says that the wire is dead, but for the pings
      assert.is_nil(event)
    until log[1] or core.now() - started > patience.limit
    assert.matches("reconnecting", log[1])
    forwarder:clear()
    assert(assert(sub:next(20)):ack{ wait = true })
    assert.equal(2, sub:stats().acked)
    assert.is_true(sub:stats().reconnects >= 1)
  end)

  it("that is reset goes on, and no event is lost", function()
    connect()
    local sub <close> = subscribe{ ack_timeout = 1 }
    local seen, count = {}, 0
    local function handle(event)
      event:ack()
      if not seen[event.sequence] then count = count + 1 end
      seen[event.sequence] = true
    end
    for round = 1, 5 do
      publish(20)
      while count < round * 20 - 10 do handle(assert(sub:next(20))) end -- then, in the middle of the rest:
      forwarder:reset()
    end
    local function is_done()
      for _, event in ipairs(sandbox:events()) do
        if event.acks == 0 then return false end
      end
      return count == 100
    end
    -- an acknowledgement of an event from the stream before may be lost: then the event comes again
    local deadline = core.now() + patience.limit
    while not is_done() do
      assert(core.now() < deadline, "some event was never acknowledged")
      local event = sub:next(0.2)
      if event then handle(event) end
    end
    assert.is_true(sub:stats().reconnects >= 4)
    assert.is_true(sub:close(10))
  end)

  it("on whose other end nobody speaks fails within the connect timeout", function()
    forwarder:set{ drop = true }
    connect{ connect_timeout = 0.4 }
    local started = core.now()
    local sub <close> = client:events{ types = { "SMS_EVENT" }, reconnect = false }
    local event, err = sub:next(10)
    assert.is_nil(event)
    assert.equal("UNAVAILABLE", err.code)
    assert.is_true(core.now() - started < patience.soon)
    forwarder:clear()
  end)

  it("that is there only sometimes gets its acknowledgements through", function()
    connect()
    local sub = subscribe()
    publish(5)
    local events = {}
    for i = 1, 5 do events[i] = assert(sub:next(10)) end
    forwarder:set{ refuse = true }
    forwarder:reset()
    for _, event in ipairs(events) do assert.is_true(event:ack()) end
    assert.equal("timeout", select(2, sub:next(0.3)).kind)
    assert.equal(5, sub:stats().in_flight)
    forwarder:clear()
    assert.is_true(sub:close(20))
    assert.equal(5, sub:stats().acked)
  end)
end)
