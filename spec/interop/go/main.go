// A client on the published Go module of the API, as the platform's sample: it subscribes with a queue and a durable
// name, prints each event and acknowledges it. Unlike the sample it subscribes again when its stream ends.
//
//	client events COUNT            ends after so many acknowledgements
//	client send FROM TO TEXT       sends an SMS, compressed with gzip
//
// Environment: TARGET, CA_FILE, TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	events "github.com/working-group-two/wgtwoapis/wgtwo/events/v0"
	sms "github.com/working-group-two/wgtwoapis/wgtwo/sms/v1"
	"golang.org/x/oauth2/clientcredentials"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // so that details can be shown
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

func connect() (*grpc.ClientConn, error) {
	tls, err := credentials.NewClientTLSFromFile(os.Getenv("CA_FILE"), "")
	if err != nil {
		return nil, err
	}
	config := &clientcredentials.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     os.Getenv("TOKEN_URL"),
		Scopes:       []string{os.Getenv("SCOPE")},
	}
	return grpc.NewClient(os.Getenv("TARGET"),
		grpc.WithTransportCredentials(tls),
		grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: config.TokenSource(context.Background())}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: time.Minute, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
	)
}

func acknowledge(client events.EventsServiceClient, event *events.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := client.Ack(ctx, &events.AckRequest{Inbox: event.Metadata.AckInbox, Sequence: event.Metadata.Sequence})
	return err
}

// receive takes events of one stream until it ends, or until `left` of them are acknowledged.
func receive(client events.EventsServiceClient, left *int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.Subscribe(ctx, &events.SubscribeEventsRequest{
		Type:          []events.EventType{events.EventType_SMS_EVENT},
		StartPosition: &events.SubscribeEventsRequest_StartAtOldestPossible{},
		ClientId:      "interop",
		QueueName:     "test",
		DurableName:   "test",
		MaxInFlight:   10,
		ManualAck:     &events.ManualAckConfig{Enable: true, Timeout: durationpb.New(10 * time.Second)},
	})
	if err != nil {
		return err
	}
	for *left > 0 {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		text, err := protojson.Marshal(response)
		if err != nil {
			return err
		}
		fmt.Printf("event %s\n", text)
		if err := acknowledge(client, response.Event); err != nil {
			return err
		}
		*left--
	}
	return nil
}

func receiveAll(connection grpc.ClientConnInterface, left int) error {
	client := events.NewEventsServiceClient(connection)
	for left > 0 {
		if err := receive(client, &left); err == io.EOF {
			fmt.Println("stream ended")
		} else if err != nil {
			return err
		}
	}
	return nil
}

func send(connection grpc.ClientConnInterface, from, to, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := sms.NewSmsServiceClient(connection).SendTextFromSubscriber(ctx,
		&sms.SendTextFromSubscriberRequest{FromSubscriber: from, ToAddress: to, Content: text},
		grpc.UseCompressor(gzip.Name))
	if err == nil {
		fmt.Printf("sent %s\n", answer.Status)
	}
	return err
}

func run(words []string) error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	if words[0] == "send" {
		return send(connection, words[1], words[2], words[3])
	}
	count, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	return receiveAll(connection, count)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		problem := status.Convert(err)
		fmt.Printf("failed %s: %s\n", problem.Code(), problem.Message())
		for _, detail := range problem.Details() {
			fmt.Printf("detail %T %v\n", detail, detail)
		}
		os.Exit(1)
	}
}
