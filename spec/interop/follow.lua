-- What every client with a program of its own (go, node, python) has to bring about. Its commands:
--
--   events COUNT        subscribes to SMS_EVENT with a queue, from the oldest; prints "event JSON" for each and
--                       acknowledges it; prints "stream ended" and subscribes again when it does; ends after COUNT
--   send FROM TO TEXT   sends an SMS by v1, compressed where the client can; prints "sent STATUS"
--
-- A program is a table: `argv`, `env`, and `resource_exhausted`, a pattern for how it names that code.
-- A call that fails makes it print "failed CODE: MESSAGE" and "detail …" for each detail, and end with 1.

local client = require("spec.interop.client")
local suite = require("spec.interop.suite")

local MANY <const> = 300

return function(program, test)
  local function start(sandbox, words, environment)
    local argv = table.move(program.argv, 1, #program.argv, 1, {})
    table.move(words, 1, #words, #argv + 1, argv)
    local env = { TARGET = sandbox.target, CA_FILE = sandbox.ca_file, TOKEN_URL = sandbox.url .. "/oauth2/token",
      CLIENT_ID = "id", CLIENT_SECRET = "secret", SCOPE = "events.sms.subscribe" }
    for _, more in ipairs{ program.env or {}, environment or {} } do
      for name, value in pairs(more) do env[name] = value end
    end
    return client.start(argv, { env = env })
  end

  local function publish(sandbox, text)
    assert(sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = text } })
  end

  test("subscribes, acknowledges, and subscribes again when its stream ends", function(sandbox)
    publish(sandbox, "one")
    publish(sandbox, "two")
    local running <close> = start(sandbox, { "events", "3" })
    running:expect("event .-one")
    running:expect("event .-two")
    suite.acknowledged(sandbox, 2)
    assert(sandbox:end_streams{})
    running:expect("stream ended")
    publish(sandbox, "three")
    running:expect("event .-three")
    suite.equal(0, (running:wait()), "exit code")
    suite.acknowledged(sandbox, 3)
    for _, event in ipairs(assert(sandbox:events())) do suite.equal(1, event.deliveries, "deliveries") end
    suite.equal(2, #assert(sandbox:journal{ method = "EventsService/Subscribe" }), "subscriptions")
    for _, call in ipairs(assert(sandbox:journal{ method = "EventsService/Ack" })) do
      suite.equal("id", call.client, "client")
      suite.equal("OK", call.code, "code")
    end
  end)

  test("takes many", function(sandbox)
    for i = 1, MANY do publish(sandbox, ("number %d %s"):format(i, ("æ"):rep(500))) end
    local running <close> = start(sandbox, { "events", tostring(MANY) })
    suite.equal(0, (running:wait()), "exit code")
    suite.acknowledged(sandbox, MANY)
    for _, event in ipairs(assert(sandbox:events())) do suite.equal(1, event.deliveries, "deliveries") end
  end)

  test("sends", function(sandbox)
    local words = { "send", "+4799990001", "+46724450000", ("hello "):rep(100) }
    local running <close> = start(sandbox, words, { SCOPE = "sms.text:send_from_subscriber" })
    running:expect("sent %S*SEND_STATUS_OK")
    suite.equal(0, (running:wait()), "exit code")
    suite.equal(words[4], sandbox:events{ type = "SMS_EVENT" }[1].payload.text, "text")
  end)

  test("takes a reply of a megabyte, and refuses one that is too large for it", function(sandbox)
    local words, scope = { "send", "+4799990001", "+46724450000", "hello" }, { SCOPE = "sms.text:send_from_subscriber" }
    assert(sandbox:fault{ method = "v1.SmsService/SendTextFromSubscriber", oversized = 1024 * 1024, nth = 1 })
    assert(sandbox:fault{ method = "v1.SmsService/SendTextFromSubscriber", oversized = 5 * 1024 * 1024 })
    local first <close> = start(sandbox, words, scope)
    suite.equal(0, (first:wait()), "exit code")
    local second <close> = start(sandbox, words, scope)
    second:expect("failed %S*: ")
    suite.equal(1, (second:wait()), "exit code")
  end)

  test("is told when to try again", function(sandbox)
    assert(sandbox:fault{ method = "v1.SmsService/SendTextFromSubscriber", retry_after = 5 })
    local running <close> = start(sandbox, { "send", "+4799990001", "+46724450000", "hello" },
      { SCOPE = "sms.text:send_from_subscriber" })
    running:expect(program.resource_exhausted)
    running:expect("detail .-RetryInfo")
    suite.equal(1, (running:wait()), "exit code")
  end)

  test("is told what is wrong", function(sandbox)
    local words = { "send", "123", "+46724450000", "hello" }
    local without_scope <close> = start(sandbox, words)
    without_scope:expect("failed %S*: .-sms%.text:send_from_subscriber")
    without_scope:expect("detail .-INSUFFICIENT_SCOPE")
    suite.equal(1, (without_scope:wait()), "exit code")
    local wrong <close> = start(sandbox, words, { SCOPE = "sms.text:send_from_subscriber" })
    wrong:expect("failed %S*: .-from_subscriber")
    wrong:expect("detail .-from_subscriber")
    suite.equal(1, (wrong:wait()), "exit code")
  end)

  return start
end
