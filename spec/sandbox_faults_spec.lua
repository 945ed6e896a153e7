local core = require("wgtwo.core")
local requests = require("spec.support.requests")
local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read = support.open, support.read

local METHOD <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"
local SUBSCRIBE <const>, ACK <const> = "wgtwo.events.v0.EventsService/Subscribe", "wgtwo.events.v0.EventsService/Ack"
local HANDSET <const> = wgtwo.limits.events_v1.streams.handset_change

describe("sandbox faults:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual", seed = 3, clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } })
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function() assert(sandbox:reset()) end)

  local function call(method, options)
    method = method or METHOD
    local reply, err = client:call(method, requests.valid(method), options)
    return err and err.code or "OK", err, reply
  end

  local function publish(text)
    return assert(sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = text } })
  end

  local function subscribe(more)
    local request = { type = { "SMS_EVENT" } }
    for name, value in pairs(more or {}) do request[name] = value end
    return open(sandbox, client, SUBSCRIBE, request)
  end

  local function text(message) return message.event.sms_event.text end

  describe("of calls:", function()
    it("a status with message and details", function()
      sandbox:fault{ method = "GetMsisdn", code = "FAILED_PRECONDITION", message = "not now", count = 1, details = {
        { type = "google.rpc.ErrorInfo", reason = "TEST", metadata = { a = "b" } } } }
      local code, err = call()
      assert.equal("FAILED_PRECONDITION", code)
      assert.equal("not now", err.message)
      assert.equal("TEST", err.details[1].reason)
      assert.equal("OK", (call()))
    end)

    it("by method: its name, an ending, \"…/ending\", or all", function()
      for _, method in ipairs{ METHOD, "SubscriptionIdService/GetMsisdn", "…/GetMsisdn", "GetMsisdn", "*" } do
        local id = sandbox:fault{ method = method, code = "ABORTED" }
        assert.equal("ABORTED", (call()))
        sandbox:clear_faults(id)
      end
      sandbox:fault{ method = "GetSubscriptionId", code = "ABORTED" }
      assert.equal("OK", (call()))
    end)

    it("by client", function()
      local mine <close> = support.connect(sandbox, { "subscription.id:read" })
      sandbox:fault{ client = "id", code = "ABORTED" }
      assert.equal("OK", (call()))
      local _, err = mine:call(METHOD, {})
      assert.equal("ABORTED", err.code)
    end)

    it("the nth call alone", function()
      sandbox:fault{ method = "GetMsisdn", nth = 3, code = "ABORTED" }
      assert.same({ "OK", "OK", "ABORTED", "OK" }, { (call()), (call()), (call()), (call()) })
    end)

    it("the nth call alone leaves the list with it; with a count, or by chance, it stayed for ever", function()
      sandbox:fault{ method = "GetMsisdn", nth = 2, count = 2, code = "ABORTED" }
      sandbox:fault{ method = "GetMsisdn", nth = 1, probability = 0, code = "INTERNAL" }
      sandbox:fault{ method = "GetMsisdn", nth = 3, code = "NOT_FOUND" }
      assert.same({ "OK", "ABORTED", "OK", "NOT_FOUND" }, { (call()), (call()), (call()), (call()) })
      assert.same({}, sandbox:faults())
    end)

    it("so many calls", function()
      sandbox:fault{ method = "GetMsisdn", count = 2, code = "ABORTED" }
      assert.equal(1, #sandbox:faults())
      assert.same({ "ABORTED", "ABORTED", "OK" }, { (call()), (call()), (call()) })
      assert.equal(0, #sandbox:faults())
    end)

    it("with a probability, the same calls with the same seed", function()
      local function pattern()
        sandbox:reset()
        sandbox:fault{ method = "GetMsisdn", probability = 0.5, code = "ABORTED" }
        local hits = {}
        for i = 1, 30 do hits[i] = (call()) == "ABORTED" and "x" or "." end
        return table.concat(hits)
      end
      local first = pattern()
      assert.matches("x", first, 1, true)
      assert.matches(".", first, 1, true)
      assert.equal(first, pattern())
    end)

    --- Calls, so many, that have arrived and wait; then `answered()` is how many of them have their answer.
    local function waiting(count)
      local tasks = {}
      for i = 1, count do tasks[i] = wgtwo.spawn(function() return (call()) end) end
      support.until_(function() return #sandbox:journal{ method = "GetMsisdn" } == count end, "the calls")
      return tasks, function()
        local answered = 0
        for _, entry in ipairs(sandbox:journal{ method = "GetMsisdn" }) do
          if entry.code then answered = answered + 1 end
        end
        return answered
      end
    end

    it("a fixed delay, on the sandbox's clock", function()
      sandbox:fault{ method = "GetMsisdn", delay = 30 }
      local tasks, answered = waiting(2)
      sandbox:advance(29.9)
      assert.equal(0, answered())
      sandbox:advance(0.2)
      assert.equal(2, answered())
      for _, task in ipairs(tasks) do assert.equal("OK", task:join(5)) end
    end)

    it("a uniform delay: between its bounds, of each call its own", function()
      sandbox:fault{ method = "GetMsisdn", delay = { 10, 30 } }
      local tasks, answered = waiting(12)
      sandbox:advance(9.9)
      assert.equal(0, answered())
      sandbox:advance(10.1)
      assert.is_true(answered() > 0 and answered() < 12, answered() .. " of 12 in the first half")
      sandbox:advance(10.1)
      assert.equal(12, answered())
      for _, task in ipairs(tasks) do assert.equal("OK", task:join(5)) end
    end)

    it("a call that hangs until its deadline", function()
      sandbox:fault{ method = "GetMsisdn", hang = true, count = 1 }
      assert.equal("DEADLINE_EXCEEDED", (call(METHOD, { timeout = 0.2 })))
      assert.equal("OK", (call()))
    end)

    it("a reset", function()
      sandbox:fault{ method = "GetMsisdn", reset = true, count = 1 }
      local code, err = call()
      assert.same({ "UNAVAILABLE", "stream reset" }, { code, err.message })
      assert.equal(0, sandbox:journal()[1].sent)
      assert.equal("OK", (call()))
    end)

    it("an oversized reply, which is a valid one to whoever takes it", function()
      sandbox:fault{ method = "GetMsisdn", oversized = 5 * 1024 * 1024 }
      assert.equal("RESOURCE_EXHAUSTED", (call()))
      local code, _, reply = call(METHOD, { max_message_size = 8 * 1024 * 1024 })
      assert.equal("OK", code)
      assert.not_equal("", reply.phone_number.e164)
    end)

    it("a reply that is no protobuf", function()
      sandbox:fault{ method = "GetMsisdn", invalid = true, count = 1 }
      local code, err = call()
      assert.equal("INTERNAL", code)
      assert.matches("no valid message", err.message, 1, true)
    end)

    it("a rate limit with RetryInfo", function()
      sandbox:fault{ method = "GetMsisdn", retry_after = 1.5, count = 1 }
      local code, err = call()
      assert.equal("RESOURCE_EXHAUSTED", code)
      assert.equal("google.rpc.RetryInfo", err.details[1].type)
      assert.equal(1, err.details[1].retry_delay.seconds)
    end)

    it("a rate limit keeps the code, the message and the details that are given; they were left out", function()
      sandbox:fault{ method = "GetMsisdn", retry_after = 1.5, code = "UNAVAILABLE", message = "busy", count = 1,
        details = { { type = "google.rpc.ErrorInfo", reason = "TEST" } } }
      local code, err = call()
      assert.same({ "UNAVAILABLE", "busy" }, { code, err.message })
      assert.same({ "google.rpc.RetryInfo", "google.rpc.ErrorInfo" }, { err.details[1].type, err.details[2].type })
      sandbox:fault{ method = "GetMsisdn", retry_after = 1, applied = true, count = 1 }
      code, err = call()
      assert.same({ "RESOURCE_EXHAUSTED", "google.rpc.RetryInfo" }, { code, err.details[1].type })
    end)

    it("a rate limit for longer than can be said is refused; the call hung", function()
      assert.has_error(function() sandbox:fault{ method = "GetMsisdn", retry_after = 1e300 } end)
    end)

    it("are listed with the calls that they saw and struck, and taken back one by one", function()
      local id = sandbox:fault{ method = "GetMsisdn", probability = 0, code = "INTERNAL" }
      local other = sandbox:fault{ method = "GetMsisdn", count = 5, code = "ABORTED" }
      for _ = 1, 3 do call() end
      local first, second = table.unpack(sandbox:faults())
      assert.same({ id, 3, 0, "INTERNAL" }, { first.id, first.seen, first.struck, first.code })
      assert.same({ other, 3, 3, "ABORTED" }, { second.id, second.seen, second.struck, second.code })
      assert(sandbox:clear_faults(id))
      assert.equal(other, sandbox:faults()[1].id)
      assert.is_nil((sandbox:clear_faults(id)))
    end)

    it("is refused where it says what there is not", function()
      for _, fault in ipairs{ { method = "NoSuchMethod", code = "ABORTED" }, { code = "NO_SUCH_CODE" },
          { cod = "ABORTED" }, { code = "ABORTED", details = { { type = "no.such.Type" } } }, { probability = 2 } } do
        assert.has_error(function() sandbox:fault(fault) end)
      end
    end)
  end)

  describe("that would do nothing:", function()
    --- Why a fault is refused, which is the same by HTTP and from Lua.
    local function refusal(fault)
      local response = support.http{ method = "POST", url = sandbox.url .. "/admin/faults",
        body = core.json_encode(fault), headers = { "Content-Type: application/json" } }
      assert.equal(400, response.status)
      local why = response.json.error_description
      local ok, raised = pcall(sandbox.fault, sandbox, fault)
      assert.is_false(ok)
      assert.matches(why, raised, 1, true)
      return why
    end

    it("are refused where they say nothing of what happens; they struck, and hid the faults after them", function()
      for _, fault in ipairs{ {}, { method = "GetMsisdn" }, { message = "oops" }, { after = 1, count = 3 },
          { reset = false }, { hang = false, method = "*" } } do
        assert.matches("fault: it says nothing of what happens: code, retry_after, delay", refusal(fault), 1, true)
      end
      assert.matches("fault: it says nothing of what happens: status, error, body",
        refusal{ endpoint = "token", nth = 1 }, 1, true)
      assert.same({}, sandbox:faults())
    end)

    it("are refused where a part needs another", function()
      assert.equal("fault: message has no effect alone: code, retry_after or applied is needed with it",
        refusal{ delay = 1, message = "oops" })
      assert.equal("fault: details has no effect alone: code, retry_after or applied is needed with it",
        refusal{ hang = true, details = { { type = "google.rpc.ErrorInfo", reason = "TEST" } } })
      assert.equal("fault: after has no effect alone: code, retry_after, reset, invalid or oversized is needed with it",
        refusal{ method = "Subscribe", duplicate = true, after = 2 })
    end)

    it("are refused where the method that is named has no such thing", function()
      for what, list in pairs{
        ["applied is of unary methods alone, and has no effect on"] = {
          { method = "Subscribe", applied = true, code = "UNAVAILABLE" } },
        ["ack_status is of the acknowledgements of v1's events alone, and has no effect on"] = {
          { method = "EventsService/Ack", ack_status = "STATUS_CODE_FAILURE" },
          { method = "SendTextToSubscriber", ack_status = "STATUS_CODE_FAILURE" },
          { method = HANDSET.stream, ack_status = "STATUS_CODE_FAILURE", delay = 1 } },
        ["after is of streams alone, and has no effect on"] = {
          { method = "GetMsisdn", code = "UNAVAILABLE", after = 1 }, { method = "Check", invalid = true, after = 1 } },
        ["duplicate is of streams alone, and has no effect on"] = { { method = "GetMsisdn", duplicate = true } },
        ["reorder is of streams alone, and has no effect on"] = { { method = "GetMsisdn", reorder = true } },
      } do
        for _, fault in ipairs(list) do
          assert.equal(('fault: %s "%s": leave it out, or name another method'):format(what, fault.method),
            refusal(fault))
        end
      end
    end)

    it("neither strike nor count, where they are for any method, on those without such a thing", function()
      local id = sandbox:fault{ ack_status = "STATUS_CODE_FAILURE" }
      sandbox:fault{ duplicate = true }
      sandbox:fault{ code = "INTERNAL", after = 1 }
      sandbox:fault{ method = "*", code = "ABORTED", count = 1 }
      assert.equal("ABORTED", (call()))
      assert.equal("OK", (call()))
      assert.same({ id, 0, 0 }, { sandbox:faults()[1].id, sandbox:faults()[1].seen, sandbox:faults()[1].struck })
      assert.same({ 3, 0 }, { #sandbox:faults(), sandbox:faults()[3].seen })
      sandbox:reset()
      sandbox:fault{ applied = true }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("x", text(read(stream)))
      assert.equal(0, sandbox:faults()[1].seen)
      assert.equal("UNAVAILABLE", (call()))
      assert.equal(1, sandbox:faults()[1].struck)
    end)
  end)

  describe("of acknowledgements:", function()
    it("applied, but an error is returned", function()
      local stream <close> = subscribe{ manual_ack = { enable = true } }
      local id = publish("x")
      local metadata = read(stream).event.metadata
      sandbox:fault{ method = "…/Ack", applied = true, count = 1 }
      local _, err = client:call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence })
      assert.equal("UNAVAILABLE", err.code)
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)

    it("not applied, with an error", function()
      local stream <close> = subscribe{ manual_ack = { enable = true } }
      local id = publish("x")
      local metadata = read(stream).event.metadata
      sandbox:fault{ method = "…/Ack", code = "UNAVAILABLE", count = 1 }
      local _, err = client:call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence })
      assert.equal("UNAVAILABLE", err.code)
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
    end)

    it("FAILURE of v1, with gRPC status OK and nothing done", function()
      local stream <close> = open(sandbox, client, HANDSET.stream, {})
      local id = assert(sandbox:publish{ type = "handset_change" })
      local info = read(stream).metadata.ack_info
      sandbox:fault{ method = HANDSET.ack, ack_status = "STATUS_CODE_FAILURE", count = 1 }
      local function ack() return assert(client:call(HANDSET.ack, { ack_info = info })).ack_status.status_code end
      assert.equal("STATUS_CODE_FAILURE", ack())
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
      assert.equal("STATUS_CODE_SUCCESS", ack())
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)
  end)

  describe("of streams:", function()
    it("an early clean end", function()
      sandbox:fault{ method = "Subscribe", code = "OK", after = 2, count = 1 }
      local stream <close> = subscribe()
      for i = 1, 3 do publish("e" .. i) end
      assert.equal("e1", text(read(stream)))
      assert.equal("e2", text(read(stream)))
      assert.equal("OK", (support.ending(stream)))
    end)

    it("a status after some messages", function()
      sandbox:fault{ method = "Subscribe", code = "INTERNAL", after = 1, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("x", text(read(stream)))
      assert.equal("INTERNAL", (support.ending(stream)))
    end)

    it("a reset after some messages", function()
      sandbox:fault{ method = "Subscribe", reset = true, after = 1, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("UNAVAILABLE", (support.ending(stream)))
    end)

    it("a status at once", function()
      sandbox:fault{ method = "Subscribe", code = "PERMISSION_DENIED", count = 1 }
      local stream <close> = assert(client:stream(SUBSCRIBE, { type = { "SMS_EVENT" } }))
      assert.equal("PERMISSION_DENIED", (support.ending(stream)))
    end)

    it("duplicates", function()
      sandbox:fault{ method = "Subscribe", duplicate = true, count = 1 }
      local stream <close> = subscribe()
      local id = publish("x")
      assert.equal(id, read(stream).event.metadata.sequence)
      assert.equal(id, read(stream).event.metadata.sequence)
    end)

    it("another order", function()
      sandbox:fault{ method = "Subscribe", reorder = true, count = 1 }
      local stream <close> = subscribe()
      for i = 1, 4 do publish("e" .. i) end
      local got = {}
      for i = 1, 4 do got[i] = text(read(stream)) end
      assert.same({ "e2", "e1", "e4", "e3" }, got)
    end)

    it("another order, and an end after some messages; it never ended", function()
      for after, expected in pairs{ [2] = { "e2", "e1" }, [3] = { "e2", "e1", "e3" } } do
        sandbox:fault{ method = "Subscribe", reorder = true, code = "OK", after = after, count = 1 }
        local stream <close> = subscribe()
        for i = 1, 4 do publish("e" .. i) end
        local got = {}
        for i = 1, after do got[i] = text(read(stream)) end
        assert.same(expected, got)
        assert.equal("OK", (support.ending(stream)))
      end
    end)

    it("another order, every message twice", function()
      sandbox:fault{ method = "Subscribe", reorder = true, duplicate = true, count = 1 }
      local stream <close> = subscribe()
      for i = 1, 2 do publish("e" .. i) end
      local got = {}
      for i = 1, 4 do got[i] = text(read(stream)) end
      assert.same({ "e2", "e2", "e1", "e1" }, got)
    end)

    it("a message that is no protobuf", function()
      sandbox:fault{ method = "Subscribe", invalid = true, after = 1, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("x", text(read(stream)))
      publish("y")
      local message, err = stream:read(10)
      assert.is_nil(message)
      assert.equal("INTERNAL", err.code)
      assert.matches("no valid message", err.message, 1, true)
    end)

    it("a message that is too large", function()
      sandbox:fault{ method = "Subscribe", oversized = 5 * 1024 * 1024, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("RESOURCE_EXHAUSTED", (support.ending(stream)))
    end)
  end)
end)
