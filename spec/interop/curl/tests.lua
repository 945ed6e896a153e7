-- curl: the token commands of the platform's guides with only the host changed, and one gRPC call made by hand.

local client = require("spec.interop.client")
local core = require("wgtwo.core")
local suite = require("spec.interop.suite")

local SHOW_STATUS <const> = "\n%{http_code}"

return function(curl, test)
  --- Runs curl with options of its own.
  local function fetch(...)
    local code, output = client.run{ curl.path, "-sS", ... }
    suite.equal(0, code, "curl's exit code, with " .. output)
    return output
  end

  --- The guide's token command.
  local function token(sandbox, user, ...)
    return fetch("-u", user, "--request", "POST", "--url", sandbox.url .. "/oauth2/token",
      "--header", "content-type: application/x-www-form-urlencoded", ...)
  end

  test("gets a token as the guide does", function(sandbox)
    local answer = core.json_decode(token(sandbox, "id:secret", "--data", "grant_type=client_credentials",
      "--data", "scope=events.sms.subscribe"))
    suite.equal("events.sms.subscribe", answer.scope, "scope")
    suite.equal("bearer", answer.token_type, "token_type")
    suite.equal(3599, answer.expires_in, "expires_in")
    suite.equal("id", suite.only_call(sandbox, "POST /oauth2/token").client, "the client in the journal")
  end)

  suite.tests_of("curl", curl.missing or not curl.jq and "jq is not installed" or nil)("| jq, the guide's whole line",
    function(sandbox)
      local line = ([[curl -s -u ${CLIENT_ID}:${CLIENT_SECRET} \
        --request POST \
        --url '%s/oauth2/token' \
        --header 'content-type: application/x-www-form-urlencoded' \
        --data grant_type="client_credentials" \
        --data scope="events.sms.subscribe" \
      | jq -r .access_token]]):format(sandbox.url)
      local code, output = client.run({ "sh", "-c", line }, { env = { CLIENT_ID = "id", CLIENT_SECRET = "secret" } })
      suite.equal(0, code, "exit code")
      assert(output:find("^%S+\n$") and output ~= "null\n", output)
    end)

  test("learns what is wrong with its request", function(sandbox)
    local grant = "grant_type=client_credentials"
    suite.contains(token(sandbox, "id:wrong", "--data", grant, "-w", SHOW_STATUS), '"invalid_client"', "\n401")
    suite.contains(token(sandbox, "id:secret", "--data", "scope=x", "-w", SHOW_STATUS), '"invalid_request"', "\n400")
    suite.contains(token(sandbox, "id:secret", "--data", "grant_type=password", "-w", SHOW_STATUS),
      '"unsupported_grant_type"', "\n400")
  end)

  test("goes through the authorization code grant", function(sandbox)
    local callback = "http://localhost:9/callback"
    local location = fetch("-o", "/dev/null", "-w", "%{redirect_url}", "-G", sandbox.url .. "/oauth2/auth",
      "--data-urlencode", "client_id=id", "--data-urlencode", "response_type=code", "--data-urlencode",
      "scope=openid offline_access phone", "--data-urlencode", "redirect_uri=" .. callback,
      "--data-urlencode", "state=12345678")
    local code = location:match("[?&]code=([^&]+)")
    assert(location:find(callback, 1, true) == 1 and location:find("state=12345678", 1, true) and code, location)
    local answer = core.json_decode(token(sandbox, "id:secret", "--data", "grant_type=authorization_code",
      "--data", "code=" .. code, "--data", "redirect_uri=" .. callback))
    assert(answer.refresh_token and answer.id_token, "no refresh_token or id_token")
    local user = core.json_decode(fetch("-H", "Authorization: Bearer " .. answer.access_token,
      sandbox.url .. "/userinfo"))
    assert(user.phone_number:find("^%+%d+$") and user.sub, "no number or sub")
    local refreshed = core.json_decode(token(sandbox, "id:secret", "--data", "grant_type=refresh_token",
      "--data", "refresh_token=" .. answer.refresh_token))
    assert(refreshed.access_token ~= answer.access_token, "the same token again")
  end)

  test("asks the admin API", function(sandbox)
    local function publish(text)
      return fetch("-w", SHOW_STATUS, "-H", "Content-Type: application/json", "-d", text,
        sandbox.url .. "/admin/events")
    end
    suite.contains(publish('{"type":"SMS_EVENT","payload":{"text":"from curl"}}'), '"id"', "\n200")
    suite.contains(fetch(sandbox.url .. "/admin/events"), "from curl")
    suite.contains(publish('{"type":"SMS_EVENTS"}'), "SMS_EVENT", "\n400")
  end)

  test("makes a gRPC call over TLS by hand", function(sandbox)
    local answer = fetch("--http2", "--cacert", sandbox.ca_file, "-D", "-", "-H", "content-type: application/grpc",
      "-H", "te: trailers", "--data-raw", "", "https://" .. sandbox.target .. "/grpc.health.v1.Health/Nothing")
    suite.contains(answer:lower(), "grpc-status: 12")
    local line = [[printf '\0\0\0\0\0' | curl -sS --http2 --cacert "$0" -D - -o - -H 'content-type: application/grpc' \
      -H 'te: trailers' --data-binary @- "$1/grpc.health.v1.Health/Check" | od -An -c -v | tr -d ' \n']]
    local _, output = client.run{ "sh", "-c", line, sandbox.ca_file, "https://" .. sandbox.target }
    suite.contains(output, [[\0\0\0\0002\b001]], "grpc-status:0")
  end)

  test("refuses a certificate that it does not know", function(sandbox)
    suite.equal(60, (client.run{ curl.path, "-sS", "https://" .. sandbox.target .. "/" }), "exit code")
  end)
end
