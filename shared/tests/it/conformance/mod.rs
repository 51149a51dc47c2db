//! One suite over both buses and their queues: the guarantees for producers, consumers and
//! operators.

mod dead_letters;
mod messages;
mod test_bed;

/// Runs every test over each bus.
macro_rules! conformance {
    ($($module:ident { $($name:ident)* })*) => {
        mod postgres {
            $($(#[tokio::test]
            async fn $name() {
                super::$module::$name(super::test_bed::TestBed::postgres().await).await;
            })*)*
        }
        mod eventbridge_and_sqs {
            testkit::emulator_tests! {
                $($(async fn $name() {
                    super::$module::$name(super::test_bed::TestBed::aws().await).await;
                })*)*
            }
        }
    };
}

conformance! {
    messages {
        every_published_event_is_handled_and_then_gone
        message_is_redelivered_after_its_consumer_crashed
        only_failed_messages_of_a_batch_are_redelivered
        unreadable_message_is_a_dead_letter_and_blocks_no_other
        event_of_unknown_type_is_ignored
        depth_counts_visible_in_flight_and_dead_messages
        long_outage_of_a_store_makes_no_dead_letter
    }
    dead_letters {
        message_that_keeps_failing_is_a_dead_letter_with_reason
        redriven_dead_letter_gets_all_its_attempts_again
        only_selected_dead_letters_are_settled
        reading_dead_letters_does_not_change_them
        dead_letters_of_every_queue_are_listed_oldest_first
        dead_letters_of_every_queue_are_redriven_to_their_own
        only_dead_letters_of_the_selected_queue_are_settled
        each_queue_has_its_own_depth
    }
}
